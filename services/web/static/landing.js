// How many there are, and what was run last. Whoever may not list them just sees the links.
import { age, ask, element, root } from "./page.js";

const MOST = 100;

async function count(kind) {
  const answer = await ask(`${root}/${kind}?limit=${MOST}`);
  if (!answer.ok) return;
  const found = (await answer.json())[kind].length;
  document.querySelector(`[data-count=${kind}]`).textContent = found === MOST ? `${MOST}+` : found;
}

async function recent() {
  const answer = await ask(`${root}/jobs?limit=6`);
  if (!answer.ok) return;
  const { jobs } = await answer.json();
  const section = document.querySelector("[data-recent]");
  section.hidden = jobs.length === 0;
  section.querySelector("tbody").replaceChildren(...jobs.map(row));
}

function row(job) {
  return element("tr", {},
    element("td", {}, element("span", { class: `badge ${job.status}` }, job.status)),
    element("td", {}, element("a", { href: `${root}/jobs/${job.jobID}` }, job.processID)),
    element("td", {}, element("time", { datetime: job.created, title: job.created }, age(job.created))),
    element("td", { class: "aside" }, element("a", { class: "id", href: `${root}/jobs/${job.jobID}` }, `…${job.jobID.slice(-12)}`)),
  );
}

recent().then(() => Promise.all([count("processes"), count("jobs")])).catch(() => {});
setInterval(() => document.hidden || recent().catch(() => {}), 5000);
