// Keeps the list as it is now while jobs are under way, and helps with the filter.
import { ask, element, fresh, root } from "./page.js";

const OFTEN = 3000;
const SELDOM = 15000;

async function renew() {
  if (document.hidden) return SELDOM;
  try {
    const page = await fresh();
    const here = document.querySelector("[data-live]");
    const there = page.querySelector("[data-live]");
    if (!here.contains(document.activeElement)) here.replaceWith(document.adoptNode(there));
  } catch {
    return SELDOM;
  }
  return document.querySelector("[data-state=running], [data-state=accepted]") ? OFTEN : SELDOM;
}

async function run() {
  for (let pause = OFTEN; ; pause = await renew()) {
    await new Promise((resume) => setTimeout(resume, pause));
  }
}

const filters = document.querySelector("[data-filters]");
filters.addEventListener("submit", (event) => {
  event.preventDefault();
  const query = new URLSearchParams([...new FormData(filters)].filter(([, value]) => value.trim()));
  location.assign(filters.getAttribute("action") + (query.size ? `?${query}` : ""));
});
filters.addEventListener("change", (event) => {
  if (event.target.type === "checkbox") filters.requestSubmit();
});
filters.elements.processID.addEventListener("focus", async () => {
  const answer = await ask(`${root}/processes?limit=1000`);
  if (!answer.ok) return;
  const ids = (await answer.json()).processes.map((process) => element("option", { value: process.id }));
  document.querySelector("#process-ids").replaceChildren(...ids);
}, { once: true });

run();
