// The raster: one line an accepted cell, in the order of the clusters, a mark at each event's onset.
const rasterCanvas = element("cell-raster");
const rasterBox = () => ({ left: 52, right: rasterCanvas.clientWidth - 18, top: 10, bottom: rasterCanvas.clientHeight - 44 });
const lineOf = new Map(data.order.map((cell, line) => [cell, line]));
let rasterPicture = null;

function drawMarks(pen, box, cell, centre, height, width) {
  for (const [onset] of eventsOf(cell)) {
    pen.fillRect(box.left + onset * (box.right - box.left) - width / 2, centre - height / 2, width, height);
  }
}

// All lines, drawn once for each size of the page.
function paintRaster() {
  const box = rasterBox();
  rasterPicture = document.createElement("canvas");
  const scale = window.devicePixelRatio || 1;
  rasterPicture.width = rasterCanvas.clientWidth * scale;
  rasterPicture.height = rasterCanvas.clientHeight * scale;
  const pen = rasterPicture.getContext("2d");
  pen.scale(scale, scale);
  const step = (box.bottom - box.top) / Math.max(1, data.order.length);
  data.order.forEach((cell, line) => {
    pen.fillStyle = clusterColour(cell);
    pen.fillRect(box.left - 7, box.top + line * step, 5, step);
    drawMarks(pen, box, cell, box.top + (line + 0.5) * step, Math.max(0.8 * step, 1), 1.3);
  });
  pen.strokeStyle = "#d9dfe4";
  pen.strokeRect(box.left, box.top, box.right - box.left, box.bottom - box.top);
}

function drawRaster() {
  const pen = penFor(rasterCanvas);
  if (!data.order.length || !rasterPicture) return;
  const box = rasterBox();
  pen.drawImage(rasterPicture, 0, 0, rasterCanvas.clientWidth, rasterCanvas.clientHeight);
  drawTimes(pen, box, box.bottom);
  pen.save();
  pen.translate(12, (box.top + box.bottom) / 2);
  pen.rotate(-Math.PI / 2);
  pen.fillText("accepted cells, by cluster", 0, 0);
  pen.restore();
  const line = lineOf.get(chosen);
  if (line !== undefined) {
    // However thin the lines are, the chosen one is drawn large enough to be read, in a frame.
    const step = (box.bottom - box.top) / data.order.length;
    const [centre, height] = [box.top + (line + 0.5) * step, Math.max(step, 12)];
    pen.fillStyle = "#fff";
    pen.fillRect(box.left, centre - height / 2, box.right - box.left, height);
    pen.strokeStyle = "#1b2733";
    pen.lineWidth = 1;
    pen.strokeRect(box.left, centre - height / 2, box.right - box.left, height);
    pen.fillStyle = clusterColour(chosen);
    drawMarks(pen, box, chosen, centre, height - 2, 2);
    pen.fillStyle = "#1b2733";
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    pen.fillText(data.ids[chosen], box.left - 9, centre);
  }
  drawMoment(pen, box, box.bottom);
}

function cellAt(event) {
  const box = rasterBox();
  const line = Math.floor(((event.offsetY - box.top) / (box.bottom - box.top)) * data.order.length);
  return data.order[line];
}

views.push({ show: drawRaster, draw: drawRaster });
watchMoment(rasterCanvas, rasterBox);
rasterCanvas.addEventListener("pointermove", (event) => {
  const cell = cellAt(event);
  if (cell !== undefined) hover(cell, "raster");
});
rasterCanvas.addEventListener("click", (event) => {
  const cell = cellAt(event);
  if (cell === undefined) pin(false);
  else click(cell, "raster");
});
rasterCanvas.addEventListener("keydown", (event) => steer(event, data.order, "keys"));
new ResizeObserver(() => { paintRaster(); drawRaster(); }).observe(rasterCanvas);
