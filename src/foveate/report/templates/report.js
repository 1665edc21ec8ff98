const list = document.getElementById("patient-list");
const rows = list ? [...list.children] : [];
const [tools, find, show, order, shown] = ["tools", "find", "show", "order", "shown"].map(id => document.getElementById(id));
function update() {
  const words = find.value.trim().toLowerCase(), key = order.value;
  for (const row of rows) row.hidden = !row.dataset.names.includes(words) || !` ${row.dataset.tags} `.includes(show.value && ` ${show.value} `);
  rows.sort((a, b) => (key ? b.dataset[key] - a.dataset[key] : 0) || a.id.localeCompare(b.id)).forEach(row => list.append(row));
  shown.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} shown`;
}
function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS" && part !== list) part.open = true;
  if (target) target.scrollIntoView();
}
if (tools) { tools.hidden = false; tools.addEventListener("input", update); tools.addEventListener("submit", event => event.preventDefault()); update(); }
addEventListener("hashchange", unfold);
unfold();
