// The table of accepted cells: a click on a column's name sorts by it, a second click the other way round.
const table = element("cell-table");
const tableScroll = table.parentElement;
const acceptedCells = [...data.ids.keys()].filter((cell) => data.accepted[cell]);
const shownColumns = data.columns.map((_, i) => i).filter((i) => acceptedCells.some((cell) => data.rows[cell][i] !== "–"));
const rowOf = new Map();
let tableOrder = acceptedCells;
let current = null;

function cellOfType(type, text) {
  const made = document.createElement(type);
  made.textContent = text;
  return made;
}

function sortBy(column, header) {
  const down = header.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (cell) => (column < 0 ? String(data.ids[cell]) : data.rows[cell][column]);
  const known = tableOrder.filter((cell) => key(cell) !== "–");
  const numeric = known.every((cell) => !Number.isNaN(Number(key(cell))));
  const compare = (a, b) => (numeric ? key(a) - key(b) : key(a).localeCompare(key(b)));
  known.sort((a, b) => (down ? compare(b, a) : compare(a, b)));
  // What is missing stays at the end, whichever way round.
  tableOrder = [...known, ...tableOrder.filter((cell) => key(cell) === "–")];
  table.tBodies[0].append(...tableOrder.map((cell) => rowOf.get(cell)));
}

[["id", -1], ...shownColumns.map((i) => [data.columns[i], i])].forEach(([name, column]) => {
  const header = document.createElement("th");
  const button = cellOfType("button", name);
  button.type = "button";
  header.scope = "col";
  header.setAttribute("aria-sort", column < 0 ? "ascending" : "none");
  button.addEventListener("click", () => sortBy(column, header));
  header.append(button);
  table.tHead.rows[0].append(header);
});
for (const cell of acceptedCells) {
  const made = document.createElement("tr");
  made.dataset.cell = cell;
  made.tabIndex = rowOf.size ? -1 : 0;
  made.append(cellOfType("td", data.ids[cell]), ...shownColumns.map((i) => cellOfType("td", data.rows[cell][i])));
  rowOf.set(cell, made);
}
table.tBodies[0].append(...rowOf.values());

views.push({
  show: (cell, from) => {
    const next = rowOf.get(cell);
    if (current && current !== next) {
      current.removeAttribute("aria-selected");
      if (next) current.tabIndex = -1;
    }
    if (!next) return;
    current = next;
    next.setAttribute("aria-selected", "true");
    next.tabIndex = 0;
    if (table.tBodies[0].contains(document.activeElement)) next.focus({ preventScroll: true });
    if (from !== "table") {
      // Only the table's own window scrolls, not the page.
      const [top, height] = [next.offsetTop - table.tHead.offsetHeight, next.offsetHeight];
      const shown = tableScroll.clientHeight - table.tHead.offsetHeight - height;
      if (top < tableScroll.scrollTop || top > tableScroll.scrollTop + shown) tableScroll.scrollTop = top - shown / 2;
    }
  },
});
table.tBodies[0].addEventListener("pointerover", (event) => {
  const line = event.target.closest("tr");
  if (line) hover(Number(line.dataset.cell), "table");
});
table.tBodies[0].addEventListener("click", (event) => {
  const line = event.target.closest("tr");
  if (line) click(Number(line.dataset.cell), "table");
});
table.tBodies[0].addEventListener("focusin", (event) => {
  const cell = Number(event.target.closest("tr").dataset.cell);
  if (cell !== chosen && !pinned) choose(cell, "table");
});
table.tBodies[0].addEventListener("keydown", (event) => steer(event, tableOrder, "keys"));
