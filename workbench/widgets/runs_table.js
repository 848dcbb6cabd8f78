// Rows that are sorted, named, noted, pinned, copied and deleted; the kernel learns what was done.

function make(tag, settings = {}, ...children) {
  const { dataset, class: names, ...rest } = settings;
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(rest)) element.setAttribute(name, value);
  if (names) element.className = names;
  Object.assign(element.dataset, dataset);
  element.append(...children);
  return element;
}

const last = (value) => value === null || value === undefined;

function compare(one, other, down) {
  if (last(one) || last(other)) return last(one) - last(other); // what is unknown comes last
  const order = typeof one === "string" ? one.localeCompare(other) : one - other;
  return down ? -order : order;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // a page without https has no clipboard
  }
}

function download(name, text) {
  const link = make("a", { download: name, href: URL.createObjectURL(new Blob([text])) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function render({ model, el }) {
  const scroll = make("div", { class: "wb-scroll", role: "region", "aria-label": "Results", tabindex: 0 });
  const caption = make("p");
  const code = make("pre", { hidden: "" });
  const said = make("span", { role: "status" });
  const csv = make("button", { title: "Save the table's figures, in seconds and dollars, as a CSV file" }, "CSV");
  csv.addEventListener("click", () => download("results.csv", model.get("csv")));
  const under = make("div", { class: "wb-acts" }, csv, said);
  el.append(make("div", { class: "wb wb-table" }, caption, scroll, code, under));
  let sort = null;

  const isText = (cell) => typeof cell?.value === "string" || Boolean(cell?.hint);
  const words = (at) => model.get("rows").some(({ cells }) => isText(cells[at]));
  const act = (what, id, words = "") => model.send({ act: what, id, words });

  const head = (column, at) => {
    const ours = sort?.at === at;
    const button = make("button", { title: `${column.hint}. Press to sort.`, dataset: { focus: `head ${at}` } },
      `${column.title}${ours ? (sort.down ? " ▼" : " ▲") : ""}`);
    button.addEventListener("click", () => {
      sort = ours && sort.down ? null : { at, down: ours };
      draw();
    });
    return make("th", { scope: "col", class: at >= 0 && words(at) ? "wb-words" : "", "aria-sort": ours ? (sort.down ? "descending" : "ascending") : "none" }, button);
  };
  const field = (what, row) => {
    const input = make("input", {
      "aria-label": `${what === "name" ? "Name" : "Note"} of ${row.name}`, value: row[what],
      title: what === "name" ? "Its name in table, charts and files" : "Kept with the run in table and files",
      placeholder: what, size: Math.min(34, Math.max(19, row[what].length)), dataset: { focus: `${what} ${row.id}` },
    });
    input.addEventListener("change", () => act(what, row.id, input.value));
    return input;
  };
  const button = (text, title, row, press, more = {}) => {
    const made = make("button", { title, "aria-label": `${text} ${row.name}`, dataset: { focus: `${text} ${row.id}` }, ...more }, text);
    made.addEventListener("click", press);
    return made;
  };
  const show = async (row) => {
    const done = await copy(row.code);
    code.textContent = row.code;
    code.hidden = done;
    said.textContent = done ? `The code of ${row.name} is copied.` : "This page has no clipboard: copy the code from here.";
  };
  const body = (row) => make("tr", row.baseline ? { class: "wb-baseline" } : {},
    make("th", { scope: "row" }, field("name", row), acts(row)),
    ...row.cells.map((cell, at) => make("td", {
      title: cell.hint || cell.text, dataset: { key: model.get("columns")[at].key },
      class: isText(cell) ? "wb-words" : "",
    }, cell.text, make("span", { class: "wb-change" }, cell.change))),
    make("td", {}, field("note", row)));
  const acts = (row) => make("div", { class: "wb-acts" },
      button("Pin", row.baseline ? "The others are compared with this one: press to compare with none" : "Compare the others with this one",
        row, () => act("pin", row.id), { "aria-pressed": String(row.baseline) }),
      ...(row.code ? [button("Copy code", "Copy the lines that make this result", row, () => show(row))] : []),
      button("Delete", "Take this result from table and charts; Undo brings it back", row, () => act("delete", row.id)));

  const draw = () => {
    const focus = scroll.contains(document.activeElement) ? document.activeElement.dataset.focus : "";
    const columns = model.get("columns"), rows = [...model.get("rows")];
    const value = (row) => (sort.at < 0 ? row.name : row.cells[sort.at]?.value);
    if (sort) rows.sort((one, other) => compare(value(one), value(other), sort.down));
    const heads = [{ title: "Result", hint: "What was tried" }, ...columns];
    caption.textContent = model.get("caption");
    scroll.replaceChildren(make("table", {},
      make("thead", {}, make("tr", {}, ...heads.map((each, at) => head(each, at - 1)),
        make("th", { scope: "col" }, "Note"))),
      make("tbody", {}, ...rows.map(body))));
    if (focus) scroll.querySelector(`[data-focus="${focus}"]`)?.focus();
  };
  model.on("change:rows", draw);
  draw();
  return () => model.off("change:rows", draw);
}

export default { render };
