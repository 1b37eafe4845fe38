// What the views share: the data, which cell is chosen and whether it is pinned. A view has show(cell, from) and may have draw().
const element = (id) => document.getElementById(id);
const data = JSON.parse(element("explorer-data").textContent);
const unpack = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const samples = { dff: unpack(data.dff.bytes), spikes: unpack(data.spikes.bytes) };
const colours = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#c9b800", "#1b2733"];
const clusterColour = (cell) => (data.clusters[cell] < 0 ? "#8a959e" : colours[data.clusters[cell] % colours.length]);
const views = [];
let chosen = null;
let pinned = false;

// Onset, peak and offset of each cell's events, as shares of the recording.
const times = new Uint16Array(unpack(data.events.bytes).buffer);
let nEvents = 0;
const firstEvent = data.events.counts.map((n) => (nEvents += n) - n);
const eventsOf = (cell) => Array.from({ length: data.events.counts[cell] }, (_, i) =>
  [0, 1, 2].map((kind) => times[kind * nEvents + firstEvent[cell] + i] / 65535));

const nameOf = (cell) => `Cell ${data.ids[cell]}, ${data.accepted[cell] ? "accepted" : "rejected"}`;

function choose(cell, from, speak = false) {
  chosen = cell;
  for (const view of views) view.show(cell, from);
  const facts = data.columns.map((column, i) => [column, data.rows[cell][i]]);
  element("cell-name").textContent = nameOf(cell) + (pinned ? " (pinned)" : "");
  element("cell-facts").replaceChildren(...facts.flatMap(([term, text]) => {
    const pair = [document.createElement("dt"), document.createElement("dd")];
    pair[0].textContent = term;
    pair[1].textContent = text;
    return pair;
  }));
  if (speak) element("cell-spoken").textContent = nameOf(cell) + facts.map(([term, text]) => `, ${term} ${text}`).join("");
}

function pin(on) {
  pinned = on;
  if (chosen !== null) choose(chosen, "pin");
}

function hover(cell, from) {
  if (!pinned && cell !== chosen) choose(cell, from);
}

function click(cell, from) {
  const again = pinned && cell === chosen;
  choose(cell, from);
  pin(!again);
}

// Arrow keys go through the cells in the order of the view that has the focus.
function steer(event, cells, from) {
  const direction = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const end = { Home: 0, End: cells.length - 1 }[event.key];
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (direction || end !== undefined) {
    const at = cells.indexOf(chosen);
    const next = end ?? (at < 0 ? 0 : (at + direction + cells.length) % cells.length);
    if (cells.length) choose(cells[next], from, true);
  } else if (event.key === "Enter" || event.key === " ") pin(!pinned);
  else if (event.key === "Escape") pin(false);
  else return;
  event.preventDefault();
}

// --- drawing -------------------------------------------------------------------------------------------------------------
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const start = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - start + 1 }, (_, i) => [(start + i) * step, ((start + i) * step).toFixed(digits)]);
}

// A pen for a canvas of the size that the page gives it, sharp on any screen.
function penFor(canvas) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.font = "12px system-ui, sans-serif";
  return pen;
}

function drawTimes(pen, box, bottom) {
  pen.fillStyle = "#55616b";
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  const x = (value) => box.left + (value / data.duration_s) * (box.right - box.left);
  for (const [value, text] of ticks(0, data.duration_s, 5)) pen.fillText(text, x(value), bottom + 12);
  pen.fillText("time (s)", (box.left + box.right) / 2, bottom + 32);
}

// --- one moment in all views ---------------------------------------------------------------------------------------------
let moment = null;

function watchMoment(canvas, box) {
  canvas.addEventListener("pointermove", (event) => {
    const { left, right } = box();
    const share = (event.offsetX - left) / (right - left);
    moment = share >= 0 && share <= 1 ? share : null;
    for (const view of views) view.draw?.();
  });
  canvas.addEventListener("pointerleave", () => {
    moment = null;
    for (const view of views) view.draw?.();
  });
}

function drawMoment(pen, box, bottom) {
  if (moment === null) return;
  const x = box.left + moment * (box.right - box.left);
  pen.strokeStyle = "#1b2733";
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(x, box.top);
  pen.lineTo(x, bottom);
  pen.stroke();
  pen.fillStyle = "#1b2733";
  pen.textBaseline = "alphabetic";
  pen.textAlign = moment < 0.5 ? "left" : "right";
  pen.fillText(`${(moment * data.duration_s).toFixed(data.duration_s < 100 ? 2 : 1)} s`, x + (moment < 0.5 ? 4 : -4), box.top + 2);
}
