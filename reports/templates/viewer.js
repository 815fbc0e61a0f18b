"use strict";
(() => {
  const get = (id) => document.getElementById(id);
  const ROW = 34;
  const FILTERS = [
    ["all", "all samples", () => true],
    ["a", "A hit, B missed", (a, b) => a && !b],
    ["b", "B hit, A missed", (a, b) => b && !a],
    ["both", "both hit", (a, b) => a && b],
    ["none", "both missed", (a, b) => !a && !b],
    ["differ", "they disagree", (a, b) => a !== b],
  ];
  const HITS = { grounding: ["0.3", "0.5", "0.7"], retrieval: ["1", "5", "10", "40"] };
  const state = { tables: [], table: null, data: null, kept: [], at: 0, hidden: new Set(), asked: 0 };

  history.replaceState(null, "", location.pathname); // the token need not stay in sight

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") made.className = value;
      else if (value !== null && value !== undefined) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };
  const ask = async (path, query = {}) => {
    const reply = await fetch(`${path}?${new URLSearchParams(query)}`);
    const data = await reply.json();
    if (!reply.ok) throw new Error(data.error || reply.statusText);
    return data;
  };
  const say = (text) => get("shown").replaceChildren(element("p", { class: "lead", id: "message" }, text));
  const options = (select, pairs, chosen) => {
    select.replaceChildren(...pairs.map(([value, text]) => element("option", { value }, text)));
    if (chosen !== undefined) select.value = chosen;
  };

  const grounding = () => state.table.task === "grounding";
  const models = () => [get("a").value, get("b").value].filter(Boolean);
  const query = () => {
    const [a, b] = [get("a").value, get("b").value];
    const asked = { table: state.table.table, a };
    if (b) asked.b = b;
    if (!grounding()) asked.direction = get("direction").value;
    return asked;
  };
  const nameOf = (key) => state.table.models.find((model) => model.key === key)?.name ?? "";

  // A phrase without a true box is right only when the model says, readably, that there is none.
  const hit = (side, i) => {
    const { scores, answers, boxes } = state.data;
    if (!scores[side]) return false;
    if (grounding()) {
      if (boxes[i] === 0) return answers[side][i] === "empty";
      return (scores[side][i] ?? 0) >= Number(get("hit").value);
    }
    return scores[side][i] !== null && scores[side][i] <= Number(get("hit").value);
  };
  const goodness = (side, i) => {
    const value = state.data.scores[side]?.[i];
    if (value === null || value === undefined) return hit(side, i) ? 1 : 0;
    return grounding() ? value : 1 / value;
  };

  const choose = () => {
    const chosen = FILTERS.find(([name]) => name === get("filter").value)[2];
    const finding = get("finding").value, word = get("find").value.trim().toLowerCase();
    const low = get("low").value === "" ? -Infinity : Number(get("low").value);
    const high = get("high").value === "" ? Infinity : Number(get("high").value);
    const { ids, findings, scores } = state.data;
    const kept = [];
    for (let i = 0; i < ids.length; i += 1) {
      const value = scores[0][i];
      const limited = low !== -Infinity || high !== Infinity;
      if (limited && (value === null || value < low || value > high)) continue;
      if (finding && findings[i] !== finding) continue;
      if (word && !ids[i].toLowerCase().includes(word)) continue;
      if (chosen(hit(0, i), hit(1, i))) kept.push(i);
    }
    const gap = (i) => Math.abs(goodness(0, i) - goodness(1, i));
    const orders = {
      gap: (i, j) => gap(j) - gap(i),
      worst: (i, j) => goodness(0, i) - goodness(0, j),
      best: (i, j) => goodness(0, j) - goodness(0, i),
      stored: () => 0,
    };
    kept.sort((i, j) => orders[get("order").value](i, j) || i - j);
    state.kept = kept;
    state.at = 0;
    get("count").textContent = `${kept.length.toLocaleString("en")} of ${ids.length.toLocaleString("en")} samples`;
    get("spacer").style.height = `${kept.length * ROW}px`;
    get("list").scrollTop = 0;
    draw();
    show();
  };

  // Only the rows in sight exist, so that 5,000 samples cost no more than 50.
  const draw = () => {
    const list = get("list");
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
    const last = Math.min(state.kept.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
    const rows = [];
    for (let place = first; place < last; place += 1) {
      const i = state.kept[place];
      const name = element("span", { class: "name" }, state.data.findings[i] || "–", element("small", {}, state.data.ids[i]));
      const row = element("div", { class: "item", role: "option", "data-place": place, "data-id": state.data.ids[i], "aria-selected": String(place === state.at) }, name);
      row.append(...models().map((_, side) => score(side, i)));
      row.style.top = `${place * ROW}px`;
      rows.push(row);
    }
    list.replaceChildren(get("spacer") ?? element("div", { id: "spacer" }), ...rows);
  };
  const score = (side, i) => {
    const value = state.data.scores[side][i];
    const text = value === null ? state.data.answers[side][i] || "–" : grounding() ? value.toFixed(2) : `#${value}`;
    return element("span", { class: `score ${hit(side, i) ? "hit" : "miss"}` }, text);
  };

  const go = (place) => {
    if (!state.kept.length) return;
    state.at = Math.min(Math.max(0, place), state.kept.length - 1);
    const list = get("list"), top = state.at * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    draw();
    show();
  };

  const show = async () => {
    const i = state.kept[state.at];
    if (i === undefined) return say("No sample fits the filter.");
    const asked = ++state.asked;
    try {
      const detail = await ask("/api/sample", { ...query(), id: state.data.ids[i] });
      if (asked !== state.asked) return;
      get("shown").replaceChildren(...(grounding() ? phrase(detail, i) : ranking(detail, i)));
      get("shown").dataset.id = detail.id;
      get("shown").scrollTop = 0;
      ahead();
    } catch (error) {
      if (asked === state.asked) say(error.message);
    }
  };
  const address = (id, side) => `/image?${new URLSearchParams({ table: state.table.table, id, side })}`;
  const ahead = () => {
    const next = state.kept[state.at + 1];
    if (next !== undefined) new Image().src = address(state.data.ids[next], 1200);
  };

  const SVG = "http://www.w3.org/2000/svg";
  const rectangles = (boxes, kind) => boxes.flatMap(([x1, y1, x2, y2]) =>
    [`rim rim-${kind}`, kind].map((name) => {
      const box = document.createElementNS(SVG, "rect");
      box.setAttribute("class", name);
      for (const [key, value] of [["x", x1], ["y", y1], ["width", x2 - x1], ["height", y2 - y1]]) box.setAttribute(key, value);
      return box;
    }));
  const film = (id, truth, answer, key) => {
    const overlay = document.createElementNS(SVG, "svg");
    overlay.setAttribute("viewBox", "0 0 1 1");
    overlay.setAttribute("preserveAspectRatio", "none");
    overlay.append(...rectangles(truth, "true"), ...rectangles(answer?.boxes ?? [], "predicted"));
    const heat = answer?.heatmap
      ? element("img", { class: "heat", alt: "", src: `/heatmap?${new URLSearchParams({ table: state.table.table, model: key, id })}` })
      : null;
    return element("div", { class: "film" }, element("img", { class: "pixels", alt: `film of ${id}`, src: address(id, 1200) }), heat, overlay);
  };
  const stageTitle = (key, side, i, more) =>
    element("h3", {}, `${"AB"[side]}  ${nameOf(key)}`, score(side, i), element("span", { class: "fine" }, more));

  const phrase = (detail, i) => {
    const facts = [detail.id, `patient ${detail.patient}`, detail.view, detail.kind, detail.finding, detail.negated ? "negated" : "", detail.truth.length ? "" : "no true box"];
    const stages = models().map((key, side) => {
      const answer = detail.answers[side];
      const told = [answer.status === "ok" ? "" : answer.status, `${answer.boxes.length} box${answer.boxes.length === 1 ? "" : "es"}`];
      if (answer.scores?.length) told.push(`scores ${answer.scores.map((value) => value.toFixed(2)).join(", ")}`);
      return element("div", { class: "stage" },
        stageTitle(key, side, i, told.filter(Boolean).join(" · ")),
        film(detail.id, detail.truth, answer, key),
        answer.raw ? element("p", { class: "raw" }, answer.raw) : null,
        demos(answer.demonstrations));
    });
    return [
      element("h2", {}, detail.phrase),
      element("p", { class: "about" }, facts.filter(Boolean).join(" · ")),
      element("div", { class: "stages" }, ...stages),
      legend(detail),
    ];
  };
  const demos = (found) => {
    if (!found.length) return null;
    const shown = found.map((one) => element("figure", {},
      one.sample ? film(one.sample, one.boxes, null, "") : null,
      element("figcaption", {}, one.phrase ? `${one.phrase} (${one.id})` : one.id)));
    return element("div", { class: "demos" }, element("span", {}, "shown before the question:"), ...shown);
  };
  const legend = (detail) => {
    const entries = [["true", "true (t)"], ["predicted", "predicted (p)"]];
    if (detail.answers.some((answer) => answer.heatmap)) entries.push(["heat", "heat map (h)"]);
    return element("div", { class: "legend" }, ...entries.map(([name, text]) =>
      element("button", { type: "button", class: "plain", "data-layer": name, "aria-pressed": String(!state.hidden.has(name)) },
        element("span", { class: `swatch ${name}` }), text)));
  };
  const toggle = (layer) => {
    if (state.hidden.has(layer)) state.hidden.delete(layer); else state.hidden.add(layer);
    document.body.classList.toggle(`hide-${layer}`, state.hidden.has(layer));
    document.querySelector(`[data-layer=${layer}]`)?.setAttribute("aria-pressed", String(!state.hidden.has(layer)));
  };

  const ranking = (detail, i) => {
    const toText = get("direction").value === "image_to_text";
    const asked = toText
      ? element("div", { class: "query" }, film(detail.id, [], null, ""), element("div", {}, element("p", { class: "about" }, "its own report"), element("p", {}, detail.text)))
      : element("div", { class: "query" }, element("p", {}, detail.text), element("div", {}, element("p", { class: "about" }, "its own film"), film(detail.id, [], null, "")));
    const stages = models().map((key, side) => {
      const answer = detail.answers[side];
      const items = answer.top.map((one) => {
        const value = element("span", { class: "value" }, one.score.toFixed(3));
        const inside = toText
          ? [element("span", {}, one.text), value]
          : [element("img", { src: address(one.id, 160), alt: `film of ${one.id}`, loading: "lazy" }), value];
        return element("li", { class: one.relevant ? "relevant" : "" }, ...inside);
      });
      return element("div", { class: "stage" }, stageTitle(key, side, i, `first relevant at rank ${answer.rank || "–"}`),
        element("ol", { class: `ranking${toText ? "" : " pictures"}` }, ...items));
    });
    return [
      element("h2", {}, detail.id),
      element("p", { class: "about" }, [`patient ${detail.patient}`, detail.view].filter(Boolean).join(" · ")),
      asked,
      element("div", { class: "stages" }, ...stages),
    ];
  };

  const load = async () => {
    const asked = ++state.asked;
    say("Reading samples …");
    try {
      const data = await ask("/api/samples", query());
      if (asked !== state.asked) return;
      state.data = data;
      const two = data.scores.length > 1;
      const before = get("finding").value;
      const findings = [...new Set(data.findings)].sort();
      options(get("finding"), [["", "all findings"], ...findings.map((name) => [name, name || "–"])], findings.includes(before) ? before : "");
      options(get("filter"), FILTERS.filter(([name]) => two || name === "all" || name === "both" || name === "none")
        .map(([name, text]) => [name, two ? text : text.replace("both hit", "A hit").replace("both missed", "A missed")]), two ? "differ" : "all");
      if (!two) FILTERS[3][2] = (a) => a; else FILTERS[3][2] = (a, b) => a && b;
      get("order").value = two ? "gap" : "worst";
      choose();
      if (two && !state.kept.length) { get("filter").value = "all"; choose(); }
    } catch (error) {
      state.data = null;
      get("list").replaceChildren(element("div", { id: "spacer" }));
      get("count").textContent = "";
      say(error.message);
    }
  };
  const pickTable = () => {
    state.table = state.tables.find((table) => String(table.table) === get("table").value);
    const named = state.table.models.map((model) => [model.key, model.role === "model" ? model.name : `${model.name} (${model.role})`]);
    options(get("a"), named, named[0][0]);
    options(get("b"), [["", "nobody"], ...named], named[1]?.[0] ?? "");
    options(get("hit"), HITS[state.table.task].map((value) => [value, value]), grounding() ? "0.5" : "10");
    get("hit-name").textContent = grounding() ? "hit: IoU ≥" : "hit: rank ≤";
    get("range-name").textContent = grounding() ? "IoU of A" : "rank of A";
    get("direction").hidden = grounding();
    get("phantom").hidden = !state.table.phantom;
    get("low").value = get("high").value = get("find").value = "";
    load();
  };

  get("table").addEventListener("change", pickTable);
  for (const id of ["a", "b", "direction"]) get(id).addEventListener("change", load);
  for (const id of ["filter", "order", "finding", "hit", "low", "high", "find"])
    get(id).addEventListener("input", () => state.data && choose());
  get("list").addEventListener("scroll", draw, { passive: true });
  get("list").addEventListener("click", (event) => {
    const row = event.target.closest(".item");
    if (row) go(Number(row.dataset.place));
  });
  get("shown").addEventListener("click", (event) => {
    const layer = event.target.closest("[data-layer]");
    if (layer) toggle(layer.dataset.layer);
  });
  get("keys").addEventListener("click", () => get("help").showModal());
  get("close").addEventListener("click", () => get("help").close());
  addEventListener("resize", () => state.data && draw());
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || get("help").open) return;
    if (event.target.matches("input, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const keys = {
      ArrowDown: () => go(state.at + 1), j: () => go(state.at + 1), ArrowUp: () => go(state.at - 1), k: () => go(state.at - 1),
      t: () => toggle("true"), p: () => toggle("predicted"), h: () => toggle("heat"),
      s: () => {
        const [a, b] = [get("a").value, get("b").value];
        if (b) { get("a").value = b; get("b").value = a; load(); }
      },
      "/": () => get("find").focus(), "?": () => get("help").showModal(),
    };
    const filter = get("filter").options[Number(event.key) - 1];
    if (keys[event.key]) keys[event.key]();
    else if (filter) { get("filter").value = filter.value; if (state.data) choose(); }
    else return;
    event.preventDefault();
  });

  ask("/api/tables").then((tables) => {
    state.tables = tables;
    if (!tables.length) return say("No cell of these runs has outcomes to look at.");
    options(get("table"), tables.map((table) => [table.table, `${table.task}: ${table.title}`]));
    return pickTable();
  }).catch((error) => say(error.message));
})();
