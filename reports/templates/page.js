"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Sorting: within each role, so that controls and ceilings stay apart; empty cells go last.
  const sortBy = (button) => {
    const header = button.closest("th");
    const table = button.closest("table");
    const before = header.getAttribute("aria-sort");
    const first = button.dataset.first;
    const order = before === first ? (first === "descending" ? "ascending" : "descending") : first;
    all("th[aria-sort]", table).forEach((cell) => cell.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", order);
    const sign = order === "descending" ? -1 : 1;
    const column = button.dataset.column;
    const value = (row) => row.querySelector(`[data-of="${column}"]`)?.dataset.value ?? "";
    const compare = (one, two) => {
      const a = value(one), b = value(two);
      if (a === "" || b === "") return (a === "") - (b === "");
      if (button.dataset.kind === "text") return sign * a.localeCompare(b);
      return sign * (Number(a) - Number(b));
    };
    all("tbody", table).forEach((body) => {
      const rows = all("tr:not(.role)", body);
      rows.sort(compare).forEach((row) => body.append(row));
    });
  };

  // Filtering: a word in model or family, an exposure, controls or not.
  const state = { word: "", exposure: "", controls: true };
  const applyFilter = () => {
    let shown = 0;
    all("section.table").forEach((section) => {
      const rows = all("tr[data-model]", section);
      let visible = 0;
      rows.forEach((row) => {
        const isModel = row.dataset.role === "model";
        const hit =
          row.dataset.model.includes(state.word) &&
          (isModel ? !state.exposure || row.dataset.exposure === state.exposure : state.controls);
        row.hidden = !hit;
        visible += hit;
      });
      all("tbody", section).forEach((body) => {
        const head = body.querySelector("tr.role");
        if (head) head.hidden = all("tr[data-model]", body).every((row) => row.hidden);
      });
      section.hidden = rows.length > 0 && visible === 0;
      shown += !section.hidden;
    });
    document.getElementById("nothing").hidden = shown > 0;
  };
  const search = document.getElementById("search");
  search.addEventListener("input", () => {
    state.word = search.value.trim().toLowerCase();
    applyFilter();
  });
  all(".chip[data-exposure]").forEach((chip) =>
    chip.addEventListener("click", () => {
      state.exposure = state.exposure === chip.dataset.exposure ? "" : chip.dataset.exposure;
      all(".chip[data-exposure]").forEach((other) =>
        other.setAttribute("aria-pressed", String(other.dataset.exposure === state.exposure)));
      applyFilter();
    }));
  const controls = document.getElementById("controls");
  controls.addEventListener("click", () => {
    state.controls = !state.controls;
    controls.setAttribute("aria-pressed", String(state.controls));
    applyFilter();
  });

  // Panels: one relevance or group at a time; all columns on demand.
  all("select.panels").forEach((select) => {
    const show = () =>
      all(".panel", select.closest("section")).forEach((panel) => {
        panel.hidden = panel.dataset.panel !== select.value;
      });
    select.addEventListener("change", show);
    show();
  });
  all("input.columns").forEach((box) =>
    box.addEventListener("change", () =>
      all("table.wide", box.closest("section")).forEach((table) => {
        table.classList.toggle("all", box.checked);
        all("th.group", table).forEach((head) => {
          head.colSpan = Number(box.checked ? head.dataset.every : head.dataset.key);
        });
      })));

  // Definitions on hover and on focus.
  const tip = document.getElementById("tip");
  const showTip = (target) => {
    tip.textContent = target.dataset.tip;
    tip.hidden = false;
    const at = target.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left), innerWidth - tip.offsetWidth - 8);
    const below = at.bottom + 8;
    const fits = below + tip.offsetHeight < innerHeight;
    tip.style.left = `${left}px`;
    tip.style.top = `${fits ? below : Math.max(8, at.top - tip.offsetHeight - 8)}px`;
  };
  const hideTip = () => { tip.hidden = true; };
  const tipped = (event) => event.target.closest?.("[data-tip]");
  document.addEventListener("mouseover", (event) => {
    const target = tipped(event);
    if (target && target.dataset.tip) showTip(target); else hideTip();
  });
  document.addEventListener("focusin", (event) => {
    const target = tipped(event);
    if (target && target.dataset.tip && target.matches(":focus-visible")) showTip(target);
  });
  document.addEventListener("focusout", hideTip);
  addEventListener("scroll", hideTip, { passive: true });

  // Provenance pop-ups, sorting and copying by click.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (event.target.tagName === "DIALOG") event.target.close();
    if (!button) return;
    if (button.dataset.opens) {
      hideTip();
      document.getElementById(button.dataset.opens).showModal();
    } else if (button.classList.contains("close")) {
      button.closest("dialog").close();
    } else if (button.classList.contains("copy")) {
      navigator.clipboard?.writeText(button.closest("dialog").querySelector("pre").textContent)
        .then(() => { button.textContent = "copied"; }, () => { button.textContent = "select and copy"; });
    } else if (button.classList.contains("sort")) {
      sortBy(button);
    }
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) { event.preventDefault(); search.focus(); }
    if (event.key === "Escape" && event.target === search) {
      search.value = "";
      search.dispatchEvent(new Event("input"));
    }
    if (event.key === "Escape") hideTip();
  });
})();
