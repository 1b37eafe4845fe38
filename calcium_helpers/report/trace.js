// The trace of the chosen cell, with its events and spikes.
const traceCanvas = element("cell-trace");
const traceBox = () => ({
  left: 52, right: traceCanvas.clientWidth - 18, top: 10, bottom: traceCanvas.clientHeight - 82, spikes: traceCanvas.clientHeight - 44,
});

function samplesOf(kind, cell) {
  const { n, low, high } = data[kind];
  const step = (high[cell] - low[cell]) / 255;
  return Array.from(samples[kind].subarray(cell * n, (cell + 1) * n), (value) => low[cell] + step * value);
}

function drawTrace() {
  const pen = penFor(traceCanvas);
  if (chosen === null || !data.dff.n) return;
  const box = traceBox();
  const trace = samplesOf("dff", chosen);
  const spikes = samplesOf("spikes", chosen);
  const low = Math.min(0, data.dff.low[chosen]);
  const high = Math.max(data.dff.high[chosen], low + 1e-6);
  const x = (share) => box.left + share * (box.right - box.left);
  const y = (value) => box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top - 10);
  const events = eventsOf(chosen);
  pen.fillStyle = "#fbe3b3";
  for (const [onset, , offset] of events) pen.fillRect(x(onset), box.top, Math.max(1, x(offset) - x(onset)), box.bottom - box.top);
  drawTraceAxes(pen, box, y, low, high);
  const line = (colour, draw) => {
    pen.strokeStyle = colour;
    pen.lineWidth = 1;
    pen.lineJoin = "round";
    pen.beginPath();
    draw();
    pen.stroke();
  };
  line("#0072b2", () => trace.forEach((value, i) => pen.lineTo(x((i + 0.5) / trace.length), y(value))));
  const largest = Math.max(...spikes);
  line("#d55e00", () => spikes.forEach((value, i) => {
    if (value <= 0) return;
    pen.moveTo(x((i + 0.5) / spikes.length), box.spikes);
    pen.lineTo(x((i + 0.5) / spikes.length), box.spikes - (26 * value) / largest);
  }));
  // A triangle over each peak: events differ from the rest by shape, not by colour alone.
  pen.fillStyle = "#1b2733";
  for (const [, peak] of events) {
    const at = Math.min(Math.floor(peak * trace.length), trace.length - 1);
    const top = y(Math.max(...trace.slice(Math.max(0, at - 1), at + 2))) - 3;
    pen.beginPath();
    pen.moveTo(x(peak), top);
    pen.lineTo(x(peak) - 3, top - 5);
    pen.lineTo(x(peak) + 3, top - 5);
    pen.fill();
  }
  drawMoment(pen, box, box.spikes);
}

function drawTraceAxes(pen, box, y, low, high) {
  pen.fillStyle = "#55616b";
  pen.strokeStyle = "#d9dfe4";
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  pen.beginPath();
  for (const [value, text] of ticks(low, high, 4)) {
    pen.moveTo(box.left, y(value));
    pen.lineTo(box.right, y(value));
    pen.fillText(text, box.left - 6, y(value));
  }
  pen.moveTo(box.left, box.spikes);
  pen.lineTo(box.right, box.spikes);
  pen.stroke();
  pen.fillText("spikes", box.left - 6, box.spikes - 8);
  drawTimes(pen, box, box.spikes);
  pen.save();
  pen.translate(8, (box.top + box.bottom) / 2);
  pen.rotate(-Math.PI / 2);
  pen.fillText("ΔF/F", 0, 0);
  pen.restore();
}

views.push({
  show: (cell) => {
    traceCanvas.setAttribute("aria-label", `ΔF/F, ${data.events.counts[cell]} events and spikes over time: ${nameOf(cell)}`);
    drawTrace();
  },
  draw: drawTrace,
});
watchMoment(traceCanvas, traceBox);
new ResizeObserver(drawTrace).observe(traceCanvas);
