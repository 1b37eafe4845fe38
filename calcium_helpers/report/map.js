// The map of cells: outlines over an image of the field, which can be zoomed and dragged.
const field = element("field");
const outlines = new Map([...field.querySelectorAll(".cell")].map((path) => [Number(path.dataset.row), path]));
const whole = field.viewBox.baseVal;
const frame = { width: whole.width, height: whole.height };
const isShown = (cell) => !field.classList.contains(data.accepted[cell] ? "hide-accepted" : "hide-rejected");
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
let marked = null;
let drag = null;
field.classList.toggle("many", outlines.size > 500);

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
  const bar = element("scale-bar");
  if (bar) bar.style.width = `${Number(bar.dataset.px) * field.getScreenCTM().a}px`;
}

views.push({
  show: (cell, from) => {
    marked?.classList.remove("chosen");
    marked = outlines.get(cell);
    marked.classList.add("chosen");
    if (from !== "map") keepInView(cell);
  },
});
field.addEventListener("pointerover", (event) => {
  const cell = event.target.dataset.row;
  if (cell !== undefined && !drag) hover(Number(cell), "map");
});
field.addEventListener("keydown", (event) => {
  steer(event, [...data.ids.keys()].filter(isShown), "keys");
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
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", () => {
    const factor = Number(button.dataset.zoom);
    const box = field.viewBox.baseVal;
    const centre = chosen === null ? [box.y + box.height / 2, box.x + box.width / 2] : data.centres[chosen];
    if (!factor) view(0, 0, frame.width);
    else view(centre[1] - box.width / factor / 2, centre[0] - box.height / factor / 2, box.width / factor);
  });
}
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
  if (cell === undefined) pin(false);
  else click(Number(cell), "map");
});
window.addEventListener("pointercancel", () => { drag = null; });
new ResizeObserver(drawScale).observe(field);
