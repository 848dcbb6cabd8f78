// Sliders and a curve. One question is under way at a time; what is turned meanwhile is asked once
// it is answered, and only as it then stands.

const LEFT = 52, RIGHT = 12, TOP = 10, BOTTOM = 34;
const CURVES = ["#3399ee", "#dd5599", "#999900", "#007744"]; // of workbench/plots/theme.py
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3]];
const PATIENCE = 1000; // milliseconds without an answer until it is said why

function element(kind, properties = {}, attributes = {}, ...inside) {
  const made = Object.assign(document.createElement(kind), properties);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...inside);
  return made;
}

function dial({ name, label, values, at, unit, shown }, turned) {
  // "d d" in a control would delete the cell in JupyterLab.
  const ours = { "data-lm-suppress-shortcuts": "true" };
  const figure = (value) => Number((value * shown).toPrecision(6));
  const slider = element("input", { type: "range", min: 0, max: values.length - 1, step: 1 },
    { ...ours, "aria-label": label, title: `${label}: move it to redraw the curve` });
  const typed = element("input", { type: "number", step: "any" },
    { ...ours, "aria-label": unit ? `${label}, ${unit}` : `${label}, typed`, title: `${label}: type it` });
  const problem = element("div", {}, { role: "alert" });
  let value = values[at];
  const slide = (place) => {
    slider.value = place;
    slider.setAttribute("aria-valuetext", `${figure(values[place])} ${unit}`.trim());
  };
  slide(at);
  typed.value = figure(value);
  slider.addEventListener("input", (event) => {
    value = values[slider.value];
    slide(slider.value);
    typed.value = figure(value);
    turned(event);
  });
  typed.addEventListener("input", (event) => {
    value = typed.value === "" ? "" : shown === 1 ? Number(typed.value) : typed.value / shown;
    if (value !== "") {
      const away = values.map((each) => Math.abs(each - value));
      slide(away.indexOf(Math.min(...away)));
    }
    turned(event);
  });
  return {
    name,
    row: element("div", { className: "wb-dial" }, {}, element("span", { textContent: label }),
      slider, typed, element("span", { textContent: unit }), problem),
    value: () => value,
    refuse: (words) => {
      if (problem.textContent !== words) problem.textContent = words;
      typed.setAttribute("aria-invalid", words ? "true" : "false");
    },
  };
}

// What a slider redraws comes from a kernel, or from a table that holds an answer for each place:
// {lines: [{name, x, y}], guide: [x, y], words, missed}. Axes say how x and y are drawn.
const LATENCIES = {
  x: { label: "Latency (ms, log scale)", log: true },
  y: { percent: true, from: 0, to: 1 },
  guide: "the target",
  subject: "Share of requests answered within a latency.",
};

function scale({ log, percent, unit = "", from, to }, values, start, end) {
  const put = log ? Math.log10 : Number;
  const margin = log ? 0.05 : 0;
  const least = put(from ?? Math.min(...values)) - margin, most = put(to ?? Math.max(...values)) + margin;
  const at = (value) => start + (end - start) * (put(value) - least) / (most - least || 1);
  return { at, ticks: (log ? powers : steps)(least, most).map((value) => [
    at(value), percent ? `${100 * value}%` : unit + Number(value.toPrecision(2)).toLocaleString("en"),
  ]) };
}

function powers(least, most) {
  const ends = most - least;
  const heads = ends > 2 ? [1] : ends > 0.9 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
  const found = [];
  for (let power = Math.floor(least); power <= most; power++) {
    found.push(...heads.map((head) => head * 10 ** power));
  }
  return found.filter((value) => Math.log10(value) > least && Math.log10(value) < most);
}

function steps(least, most) {
  const rough = (most - least || 1) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((head) => head * power >= rough * 0.999);
  const first = Math.ceil(least / step - 1e-9);
  return Array.from({ length: Math.floor(most / step + 1e-9) - first + 1 }, (_, n) => (first + n) * step);
}

function plot(canvas, axes, now, before) {
  const device = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * device;
  canvas.height = height * device;
  const ink = getComputedStyle(canvas).color;
  const draw = canvas.getContext("2d");
  draw.scale(device, device);
  draw.font = "12px sans-serif";
  const { lines, guide } = now;
  const all = (axis) => [now, before].flatMap((each) => each.lines.flatMap((line) => line[axis]));
  const [right, up] = guide ?? [null, null];
  const seen = [...all("x"), right].filter((value) => value !== null);
  if (!seen.length) return;
  const named = Math.max(0, ...lines.map(({ name }) => (name ? draw.measureText(name).width + 8 : 0)));
  const head = axes.y.label ? TOP + 18 : TOP;
  const end = width - RIGHT - named, foot = height - BOTTOM;
  const x = scale(axes.x, seen, LEFT, end);
  const y = scale(axes.y, all("y").filter((value) => value !== null), foot, head);
  const line = (points, { colour = ink, thick = 1, dash = [], faint = 1 }) => {
    draw.beginPath();
    draw.globalAlpha = faint;
    draw.strokeStyle = colour;
    draw.lineWidth = thick;
    draw.setLineDash(dash);
    let pen = false;
    for (const [px, py] of points) {
      if (py !== null) draw[pen ? "lineTo" : "moveTo"](px, py);
      pen = py !== null;
    }
    draw.stroke();
    draw.globalAlpha = 1;
  };
  draw.fillStyle = ink;
  draw.textAlign = "right";
  for (const [place, words] of y.ticks) {
    line([[LEFT, place], [end, place]], { faint: 0.2 });
    draw.fillText(words, LEFT - 6, place + 4);
  }
  draw.textAlign = "center";
  for (const [place, words] of x.ticks) {
    line([[place, head], [place, foot]], { faint: 0.2 });
    draw.fillText(words, place, foot + 15);
  }
  draw.fillText(axes.x.label, (LEFT + end) / 2, height - 4);
  draw.textAlign = "left";
  if (axes.y.label) draw.fillText(axes.y.label, 4, TOP + 4);
  if (right !== null) {
    line([[x.at(right), head], [x.at(right), foot]], { dash: [4, 4], thick: 1.5 });
    if (up) line([[LEFT, y.at(up)], [x.at(right), y.at(up)]], { dash: [4, 4], thick: 1.5 });
  }
  const curve = (each) => each.x.map((value, n) => [x.at(value), each.y[n] === null ? null : y.at(each.y[n])]);
  const colour = (n) => CURVES[n % CURVES.length];
  if (before !== now) {
    before.lines.forEach((each, n) => line(curve(each),
      { dash: [2, 3], thick: 2, faint: 0.6, colour: lines.length > 1 ? colour(n) : ink }));
  }
  lines.forEach((each, n) => line(curve(each), { colour: colour(n), thick: 2.5, dash: DASHES[n % DASHES.length] }));
  const ends = lines.map((each) => [curve(each).findLast(([, place]) => place !== null)?.[1], each.name]);
  let free = -Infinity;
  for (const [place, name] of ends.filter(([place]) => place).sort(([one], [other]) => one - other)) {
    free = Math.max(free, place);
    draw.fillText(name ?? "", end + 6, free + 4);
    free += 15;
  }
}

// A model as a kernel's, which answers from a table: `answers` has words, whether the target is missed
// and figures for each combination of the dials' values, those of the last dial next to each other.
// Figures are where a curve reaches `shares`, or the height of each named line, which is drawn `along` a dial.
function fromTable({ dials, axes, shares, names, along, target, answers }) {
  let listener = () => {};
  const at = (values) => answers[dials.reduce(
    (sum, { name, values: all }) => sum * all.length + all.indexOf(values[name]), 0)];
  const alike = (values, name, value) => at({ ...values, [name]: value })[2];
  const look = (values) => {
    const off = dials.find(({ name, values: all }) => !all.includes(values[name]));
    if (off) {
      const known = off.values.map((value) => Number((value * off.shown).toPrecision(6))).join(", ");
      return { about: off.name, error: `${off.label} can be ${known} ${off.unit}`.trim() + " here." };
    }
    const [words, missed, figures] = at(values);
    if (!along) return { words, missed, lines: [{ x: figures, y: shares.slice(0, figures.length) }], guide: target };
    const x = dials.find(({ name }) => name === along).values;
    const lines = names.map((name, n) => ({ name, x, y: x.map((value) => alike(values, along, value)[n]) }));
    return { words, missed, lines, guide: [values[along], null] };
  };
  return {
    get: (name) => ({ dials, axes })[name],
    on: (event, given) => { if (event === "msg:custom") listener = given; },
    off: () => { listener = () => {}; },
    send: ({ number, values }) => queueMicrotask(() => listener({ number, ...look(values) })),
  };
}

function render({ model, el }) {
  const sliders = element("div", { className: "wb-dials" });
  const canvas = element("canvas", {}, { role: "img", "aria-label": "Nothing simulated yet" });
  const legend = element("div", { className: "wb-legend" });
  const verdict = element("div", { className: "wb-verdict" }, { role: "status" });
  el.append(element("div", { className: "wb-whatif" }, {}, sliders, canvas, legend, verdict));

  const axes = model.get("axes") ?? LATENCIES;
  let dials = [], now = null, before = null;
  let question = null, wanted = false, moved = 0, late = 0;

  const say = (words, wrong) => {
    if (verdict.textContent !== words) verdict.textContent = words;
    verdict.classList.toggle("wb-wrong", wrong);
  };
  const paint = () => {
    if (now && canvas.clientWidth) plot(canvas, axes, now, before);
  };
  const ask = () => {
    wanted = Boolean(question);
    if (wanted) return;
    question = { number: `${Math.random()}`, moved };
    verdict.setAttribute("aria-busy", "true");
    const values = Object.fromEntries(dials.map(({ name, value }) => [name, value()]));
    model.send({ number: question.number, values });
    late = setTimeout(() => say("Waiting for the kernel: a cell may be running.", false), PATIENCE);
  };
  const turned = (event) => {
    moved = event.timeStamp;
    ask();
  };
  const show = (answer) => {
    for (const each of dials) each.refuse(each.name === answer.about ? answer.error : "");
    if (answer.error) {
      const beside = dials.some(({ name }) => name === answer.about);
      say(beside && now ? `As it was before: ${now.words}` : answer.error, !beside);
      return;
    }
    now = answer;
    before ??= answer;
    canvas.setAttribute("aria-label", `${axes.subject} ${now.words}`);
    const first = before === now ? "" : " Dotted: as it was at first.";
    legend.textContent = `${axes.subject} Thick: simulated.${first} Thin and dashed: ${axes.guide}.`;
    say(now.words, now.missed);
    paint();
  };
  const receive = (answer) => {
    if (answer.number !== question?.number) return;
    clearTimeout(late);
    const answered = question;
    question = null;
    const last = !wanted;
    if (wanted) ask();
    requestAnimationFrame(() => {
      show(answer);
      if (!question) verdict.removeAttribute("aria-busy");
      if (!last || !answered.moved) return;
      // A task queued in a frame runs when the frame is painted.
      const after = new MessageChannel();
      after.port1.onmessage = () => {
        performance.clearMeasures("wb-what-if");
        performance.measure("wb-what-if", { start: answered.moved, end: performance.now() });
        after.port1.close();
      };
      after.port2.postMessage(0);
    });
  };
  const build = () => {
    clearTimeout(late);
    [now, before, question, wanted, moved] = [null, null, null, false, 0];
    verdict.removeAttribute("aria-busy");
    dials = model.get("dials").map((each) => dial(each, turned));
    sliders.replaceChildren(...dials.map(({ row }) => row));
    canvas.style.display = legend.style.display = dials.length ? "" : "none";
    if (dials.length) ask();
  };
  const note = () => {
    if (model.get("note")) say(model.get("note"), false);
  };

  model.on("msg:custom", receive);
  model.on("change:dials", build);
  model.on("change:note", note);
  const sized = new ResizeObserver(paint);
  sized.observe(canvas);
  const theme = new MutationObserver(() => requestAnimationFrame(paint));
  theme.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "data-theme"] });
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", paint);
  build();
  note();
  return () => {
    clearTimeout(late);
    sized.disconnect();
    theme.disconnect();
    dark.removeEventListener("change", paint);
    model.off("msg:custom", receive);
    model.off("change:dials", build);
    model.off("change:note", note);
  };
}

export default { render, fromTable };
