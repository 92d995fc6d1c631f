// Follows a job: its status, its steps and its logs as they grow.
import { ask, element, fresh, problemOf, root } from "./page.js";

const place = document.querySelector("[data-job]");
const job = place.dataset.job;
const LARGEST_LOG = 400_000;

// --- status and steps ---------------------------------------------------------------------------------------------

const live = () => place.querySelector("[data-live]");
const ended = () => ["successful", "failed", "dismissed"].includes(live().dataset.state);
const SOON = 150;
const OFTEN = 1000;
let renewing = null;
let again = false;
let renewed = 0;

/** Takes what the service shows now; news that come meanwhile are looked at once more. */
async function renew() {
  again = true;
  renewing ??= (async () => {
    while (again) {
      again = false;
      await new Promise((resume) => setTimeout(resume, Math.max(SOON, renewed + OFTEN - Date.now())));
      renewed = Date.now();
      let page;
      try {
        page = await fresh();
      } catch (error) {
        if (error.status === 404 || error.status === 401) location.reload();
        continue;
      }
      const before = live().dataset.state;
      const focused = document.activeElement?.matches?.("[data-dismiss]");
      live().replaceWith(document.adoptNode(page.querySelector("[data-live]")));
      document.title = page.title;
      if (live().dataset.state !== before) {
        place.querySelector("[data-announce]").textContent = `The job is ${live().dataset.state}.`;
      }
      offer();
      if (focused) place.querySelector("[data-dismiss]")?.focus();
      tabs();
    }
    renewing = null;
  })();
  await renewing;
}

let events = null;

function watch() {
  events?.close();
  if (ended() || document.hidden) return;
  events = new EventSource(`${job}/events`);
  events.addEventListener("progress", ({ data }) => {
    const progress = JSON.parse(data).details.progress;
    const bar = live().querySelector(".progress progress");
    if (bar && progress != null) {
      bar.value = progress;
      live().querySelector("[data-percent]").textContent = `${progress} %`;
    }
  });
  for (const kind of ["state", "step"]) events.addEventListener(kind, renew);
  events.addEventListener("end", () => {
    events.close();
    renew();
  });
  events.onerror = () => {
    // The browser comes back by itself, unless it was refused.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => renew().then(watch), 3000);
  };
}

// A browser has six connections to a host over HTTP/1.1, for all its tabs together. One that nobody looks at asks now
// and then, so that its title tells how the job stands.
let asking;
document.addEventListener("visibilitychange", () => {
  clearInterval(asking);
  if (document.hidden) {
    events?.close();
    if (!complete) stop?.abort();
    asking = setInterval(() => ended() || renew(), 15_000);
  } else {
    renew().then(watch);
    if (shown !== null && !complete) show(shown);
  }
});

// --- logs -----------------------------------------------------------------------------------------------------------

const logs = place.querySelector("[data-logs]");
const output = place.querySelector("[data-log]");
const follow = place.querySelector("[data-follow]");
const ESCAPES = /\x1b(?:\[[0-?]*[ -\/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])/g;
let shown = null;
let complete = false;
let chosen = false;
let stop = null;

function steps() {
  return [...live().querySelectorAll("[data-step]")].map((row) => ({ step: row.dataset.step, state: row.dataset.stepState }));
}

/** The step that matters most: the one that failed, else the one that works, else the last that wrote something. */
async function preferred(all) {
  const best = all.find((one) => one.state === "failed") ?? all.findLast((one) => one.state === "running");
  if (best) return best.step;
  const listed = await ask(`${job}/logs`).catch(() => null);
  const wrote = listed?.ok ? (await listed.json()).logs.findLast((log) => log.size > 0) : null;
  return (wrote ?? all.at(-1)).step;
}

async function tabs() {
  const all = steps();
  logs.hidden = all.length === 0;
  if (!all.length) return;
  logs.querySelector(".tabs").replaceChildren(...all.map(({ step }) => {
    const tab = element("button", { type: "button", role: "tab" }, step);
    tab.addEventListener("click", () => {
      chosen = true;
      show(step);
    });
    return tab;
  }));
  mark();
  if (chosen || (shown !== null && !follow.checked)) return;
  const best = await preferred(all);
  if (!chosen && best !== shown) show(best);
}

function mark() {
  for (const tab of logs.querySelectorAll("[role=tab]")) {
    const selected = tab.textContent === shown;
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
    if (selected) tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.offsetLeft - 60;
  }
}

logs.addEventListener("keydown", (event) => {
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!move || event.target.role !== "tab") return;
  const all = [...logs.querySelectorAll("[role=tab]")];
  const next = all[(all.indexOf(event.target) + move + all.length) % all.length];
  next.focus();
  next.click();
});

async function show(step) {
  stop?.abort();
  const mine = (stop = new AbortController());
  shown = step;
  complete = false;
  mark();
  output.textContent = "";
  const url = `${job}/logs/${encodeURIComponent(step)}`;
  logs.querySelector("[data-whole-log]").href = url;
  let position = 0;
  try {
    const listed = await ask(`${job}/logs`, { signal: mine.signal });
    if (listed.ok) {
      const size = (await listed.json()).logs.find((log) => log.step === step)?.size ?? 0;
      position = Math.max(0, size - LARGEST_LOG / 2);
    }
    if (position) append("… (the beginning is in the whole log)\n");
    for (;;) {
      const answer = await ask(`${url}?follow=true&offset=${Math.floor(position)}`, {
        headers: { Accept: "text/plain" }, signal: mine.signal,
      });
      if (!answer.ok) return append((await problemOf(answer)).detail ?? "");
      const reader = answer.body.getReader();
      const decoder = new TextDecoder();
      try {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return finish();
          position += value.length;
          append(decoder.decode(value, { stream: true }));
        }
      } catch (error) {
        if (mine.signal.aborted) throw error;
        // The connection broke; go on where it did.
        await new Promise((resume) => setTimeout(resume, 2000));
      }
    }
  } catch {
    // Another step was chosen, or the page is left.
  }

  function append(text) {
    if (mine.signal.aborted || !text) return;
    const atEnd = output.scrollTop + output.clientHeight >= output.scrollHeight - 30;
    output.append(text.replace(ESCAPES, "").replaceAll("\r\n", "\n"));
    if (output.textContent.length > LARGEST_LOG) {
      output.textContent = "…" + output.textContent.slice(-LARGEST_LOG / 2);
    }
    if (follow.checked && (atEnd || output.dataset.begun !== step)) output.scrollTop = output.scrollHeight;
    output.dataset.begun = step;
  }

  function finish() {
    if (mine.signal.aborted) return;
    complete = true;
    if (!output.textContent) output.textContent = "(It wrote nothing.)";
  }
}

follow.addEventListener("change", () => {
  if (!follow.checked) return;
  chosen = false;
  tabs();
  output.scrollTop = output.scrollHeight;
});

// --- dismissing -------------------------------------------------------------------------------------------------

const dialog = place.querySelector("[data-confirm]");

function offer() {
  const button = live().querySelector("[data-dismiss]");
  button.hidden = false;
  button.addEventListener("click", () => {
    const word = button.textContent;
    dialog.querySelector("#confirm-title").textContent = `${word} this job?`;
    dialog.querySelector("[data-yes]").textContent = word;
    dialog.querySelector("[data-dismiss-text]").hidden = ended();
    dialog.querySelector("[data-remove-text]").hidden = !ended();
    dialog.querySelector("[data-error]").hidden = true;
    dialog.showModal();
  });
}

dialog.querySelector("[data-yes]").addEventListener("click", async ({ target }) => {
  const removes = ended();
  target.disabled = true;
  const answer = await ask(job, { method: "DELETE" }).catch(() => null);
  target.disabled = false;
  if (answer?.ok) {
    dialog.close();
    return removes ? location.assign(`${root}/jobs`) : renew();
  }
  const error = dialog.querySelector("[data-error]");
  error.textContent = answer ? (await problemOf(answer)).detail : "The service cannot be reached.";
  error.hidden = false;
});

for (const part of logs.querySelectorAll("[data-scripted]")) part.hidden = false;
offer();
tabs();
watch();
