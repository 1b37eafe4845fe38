"use strict";
// The map of cells: pointing at an outline, or stepping to it with the arrow keys, shows its trace.
(() => {
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const field = document.getElementById("field");
  const canvas = document.getElementById("cell-trace");
  const outlines = new Map([...field.querySelectorAll(".cell")].map((path) => [Number(path.dataset.row), path]));
  const bytes = (packed) => Uint8Array.from(atob(packed.bytes), (letter) => letter.charCodeAt(0));
  const samples = { dff: bytes(data.dff), spikes: bytes(data.spikes) };
  const whole = field.viewBox.baseVal;
  const frame = { width: whole.width, height: whole.height };
  let chosen = null;
  let pinned = false;
  field.classList.toggle("many", outlines.size > 500);

  // --- one cell: its trace and its facts -------------------------------------------------------------------------------
  function row(kind, cell) {
    const { n, low, high } = data[kind];
    const step = (high[cell] - low[cell]) / 255;
    return Array.from(samples[kind].subarray(cell * n, (cell + 1) * n), (value) => low[cell] + step * value);
  }

  function ticks(low, high, count) {
    const rough = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const first = Math.ceil(low / step - 1e-9);
    const last = Math.floor(high / step + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, i) => [(first + i) * step, ((first + i) * step).toFixed(digits)]);
  }

  function drawTrace() {
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = window.devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = height * scale;
    if (chosen === null || !data.dff.n) return;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const box = { left: 52, right: width - 18, top: 10, bottom: height - 82, spikes: height - 44 };
    const trace = row("dff", chosen);
    const spikes = row("spikes", chosen);
    const low = Math.min(0, data.dff.low[chosen]);
    const high = Math.max(data.dff.high[chosen], low + 1e-6);
    const x = (part) => box.left + part * (box.right - box.left);
    const y = (value) => box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top);
    drawAxes(pen, box, x, y, low, high);
    pen.strokeStyle = "#0072b2";
    pen.lineWidth = 1;
    pen.lineJoin = "round";
    pen.beginPath();
    trace.forEach((value, i) => pen.lineTo(x((i + 0.5) / trace.length), y(value)));
    pen.stroke();
    pen.strokeStyle = "#d55e00";
    pen.beginPath();
    const largest = Math.max(...spikes);
    spikes.forEach((value, i) => {
      if (value <= 0) return;
      pen.moveTo(x((i + 0.5) / spikes.length), box.spikes);
      pen.lineTo(x((i + 0.5) / spikes.length), box.spikes - (26 * value) / largest);
    });
    pen.stroke();
  }

  function drawAxes(pen, box, x, y, low, high) {
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = "#55616b";
    pen.strokeStyle = "#d9dfe4";
    pen.beginPath();
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const [value, text] of ticks(low, high, 4)) {
      pen.moveTo(box.left, y(value));
      pen.lineTo(box.right, y(value));
      pen.fillText(text, box.left - 6, y(value));
    }
    pen.moveTo(box.left, box.spikes);
    pen.lineTo(box.right, box.spikes);
    pen.fillText("spikes", box.left - 6, box.spikes - 8);
    pen.textAlign = "center";
    for (const [value, text] of ticks(0, data.duration_s, 5)) pen.fillText(text, x(value / data.duration_s), box.spikes + 12);
    pen.fillText("time (s)", (box.left + box.right) / 2, box.spikes + 32);
    pen.stroke();
    pen.save();
    pen.translate(8, (box.top + box.bottom) / 2);
    pen.rotate(-Math.PI / 2);
    pen.fillText("ΔF/F", 0, 0);
    pen.restore();
  }

  function choose(cell) {
    if (chosen !== null) outlines.get(chosen).classList.remove("chosen");
    chosen = cell;
    const status = data.accepted[cell] ? "accepted" : "rejected";
    const name = `Cell ${data.ids[cell]}, ${status}`;
    outlines.get(cell).classList.add("chosen");
    canvas.setAttribute("aria-label", `ΔF/F and spikes over time: ${name}`);
    document.getElementById("cell-name").textContent = name + (pinned ? " (pinned)" : "");
    const facts = data.columns.map((column, i) => [column, data.rows[cell][i]]);
    document.getElementById("cell-facts").replaceChildren(...facts.flatMap(([term, text]) => {
      const pair = [document.createElement("dt"), document.createElement("dd")];
      pair[0].textContent = term;
      pair[1].textContent = text;
      return pair;
    }));
    drawTrace();
    return name + facts.map(([term, text]) => `, ${term} ${text}`).join("");
  }

  function pin(on) {
    pinned = on;
    if (chosen !== null) choose(chosen);
  }

  // --- pointer and keys ------------------------------------------------------------------------------------------------
  const shown = (cell) => !field.classList.contains(data.accepted[cell] ? "hide-accepted" : "hide-rejected");

  function step(direction) {
    const cells = [...data.ids.keys()].filter(shown);
    if (!cells.length) return;
    const at = cells.indexOf(chosen);
    const next = at < 0 ? 0 : (at + direction + cells.length) % cells.length;
    document.getElementById("cell-spoken").textContent = choose(cells[next]);
    keepInView(cells[next]);
  }

  field.addEventListener("pointerover", (event) => {
    const cell = event.target.dataset.row;
    if (cell !== undefined && !pinned && !drag) choose(Number(cell));
  });
  field.addEventListener("keydown", (event) => {
    const direction = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (direction) step(direction);
    else if (event.key === "Enter" || event.key === " ") pin(!pinned);
    else if (event.key === "Escape") pin(false);
    else return;
    event.preventDefault();
  });
  for (const input of document.querySelectorAll("input[name=layer]")) {
    input.addEventListener("change", () => {
      for (const image of field.querySelectorAll("image")) {
        image.setAttribute("display", image.dataset.layer === input.value ? "inline" : "none");
      }
    });
  }
  for (const input of document.querySelectorAll("[data-toggle]")) {
    const update = () => field.classList.toggle(`hide-${input.dataset.toggle}`, !input.checked);
    input.addEventListener("change", update);
    update();
  }

  // --- zoom and drag ---------------------------------------------------------------------------------------------------
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function view(x, y, width) {
    const share = clamp(width / frame.width, 0.02, 1);
    const [w, h] = [share * frame.width, share * frame.height];
    field.setAttribute("viewBox", `${clamp(x, 0, frame.width - w)} ${clamp(y, 0, frame.height - h)} ${w} ${h}`);
    drawScale();
  }

  function keepInView(cell) {
    const [y, x] = data.centres[cell];
    const box = field.viewBox.baseVal;
    if (x < box.x || x > box.x + box.width || y < box.y || y > box.y + box.height) {
      view(x - box.width / 2, y - box.height / 2, box.width);
    }
  }

  function drawScale() {
    const bar = document.getElementById("scale-bar");
    if (bar) bar.style.width = `${Number(bar.dataset.px) * field.getScreenCTM().a}px`;
  }

  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      const factor = Number(button.dataset.zoom);
      const box = field.viewBox.baseVal;
      const centre = chosen === null ? [box.y + box.height / 2, box.x + box.width / 2] : data.centres[chosen];
      if (!factor) view(0, 0, frame.width);
      else view(centre[1] - box.width / factor / 2, centre[0] - box.height / factor / 2, box.width / factor);
    });
  }
  let drag = null;
  field.addEventListener("pointerdown", (event) => {
    const box = field.viewBox.baseVal;
    drag = { x: event.clientX, y: event.clientY, left: box.x, top: box.y, moved: false };
  });
  window.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    drag.moved ||= Math.hypot(dx, dy) > 4;
    const scale = field.getScreenCTM().a;
    if (drag.moved) view(drag.left - dx / scale, drag.top - dy / scale, field.viewBox.baseVal.width);
  });
  window.addEventListener("pointerup", (event) => {
    const clicked = drag && !drag.moved;
    drag = null;
    if (!clicked || !field.contains(event.target)) return;
    const cell = event.target.dataset.row;
    const again = pinned && Number(cell) === chosen;
    if (cell !== undefined) choose(Number(cell));
    pin(cell !== undefined && !again);
  });
  window.addEventListener("pointercancel", () => { drag = null; });

  new ResizeObserver(() => { drawTrace(); drawScale(); }).observe(canvas);
  new ResizeObserver(drawScale).observe(field);
  const first = [...data.ids.keys()].find((cell) => data.accepted[cell]);
  if (first !== undefined) choose(first);
})();
