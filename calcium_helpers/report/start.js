// All views are there: show the first accepted cell.
const start = [...data.ids.keys()].find((cell) => data.accepted[cell]);
if (start !== undefined) choose(start, "start");
