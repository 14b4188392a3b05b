import { button, byId, h } from "../ui/dom";
import { text } from "../ui/texts";
import type { PanelContext } from "./panel";
import { type Task, TASKS } from "./tour/tasks";

const KEY = "flowrl-tour";

/** What has been done in this tab; storage may be forbidden. */
function remembered(): string[] {
  try {
    return (sessionStorage.getItem(KEY) ?? "").split(" ");
  } catch {
    return [];
  }
}

function remember(done: ReadonlySet<string>): void {
  try {
    sessionStorage.setItem(KEY, [...done].join(" "));
  } catch {
    // It holds until the tour is closed then.
  }
}

/** The tour: tasks that tick themselves off when the reader does them. Gives a function that opens it, or brings it back. */
export function mountTour(context: PanelContext): () => void {
  const card = byId("tour");
  const expand = byId("tour-expand");
  return () => {
    if (card.hidden) return start(context, card, expand);
    expand.click();
    card.focus();
  };
}

function start(context: PanelContext, card: HTMLElement, expand: HTMLElement): void {
  const { hidden } = context.settings.get();
  const tasks = TASKS.filter(({ part }) => !part || !hidden.includes(part));
  const done = new Set(remembered().filter((id) => tasks.some((task) => task.id === id)));
  const finished = () => done.size === tasks.length;
  let at = Math.max(
    0,
    tasks.findIndex(({ id }) => !done.has(id)),
  );
  if (finished()) done.clear();
  const before = document.activeElement;
  const ends = new Map<string, () => void>();
  const root = document.documentElement;

  const see = byId("tour-see");
  const dots = byId("tour-dots");
  const back = byId<HTMLButtonElement>("tour-back");
  const next = byId("tour-next");
  back.onclick = () => turn(at - 1);
  next.onclick = () => (at === tasks.length - 1 && finished() ? close() : turn((at + 1) % tasks.length));
  byId("tour-where").onclick = () => lead(task());
  byId("tour-small").onclick = () => minimise(true);
  byId("tour-close").onclick = close;
  expand.onclick = () => minimise(false);
  card.onkeydown = ({ key }) => {
    if (key === "Escape") minimise(true);
  };
  const task = () => tasks[at]!;

  function show(): void {
    const now = task();
    const ticked = done.has(now.id);
    byId("tour-title").textContent = `${ticked ? "✓ " : ""}${at + 1}. ${text(`tour-${now.id}`)}`;
    byId("tour-why").textContent = text(`tour-${now.id}-why`);
    const end = finished() && at === tasks.length - 1 ? " That was the whole tour." : "";
    see.textContent = text(`tour-${now.id}-see`) + end;
    see.hidden = !ticked;
    back.disabled = at === 0;
    next.textContent =
      at === tasks.length - 1 ? (finished() ? "Finish" : "To the first") : ticked ? "Next" : "Skip";
    next.classList.toggle("primary", ticked);
    expand.textContent = `Tour: ${done.size} of ${tasks.length}`;
    dots.replaceChildren(
      ...tasks.map(({ id }, i) => {
        const state = done.has(id) ? "done" : "open";
        const dot = button(done.has(id) ? "✓" : String(i + 1), () => turn(i), {
          class: `button dot ${state}`,
          "aria-label": `Task ${i + 1}, ${state}: ${text(`tour-${id}`)}`,
        });
        if (i === at) dot.setAttribute("aria-current", "step");
        return h("li", {}, dot);
      }),
    );
  }

  function turn(to: number): void {
    const lost = document.activeElement;
    const held = dots.contains(lost);
    at = Math.min(tasks.length - 1, Math.max(0, to));
    show();
    if (held) dots.querySelectorAll("button")[at]?.focus();
    else if (back.disabled && lost === back) next.focus();
  }

  function tick({ id }: Task): void {
    if (done.has(id)) return;
    done.add(id);
    remember(done);
    ends.get(id)?.();
    const seen = task().id === id ? text(`tour-${id}-see`) : "";
    context.announce(`Done: ${text(`tour-${id}`)}. ${seen} ${done.size} of ${tasks.length}.`);
    turn(at);
  }

  /** The page keeps clear of the card. */
  const room = new ResizeObserver(() => root.style.setProperty("--tour", `${card.offsetHeight}px`));

  function minimise(small: boolean): void {
    byId("tour-details").hidden = small;
    expand.hidden = !small;
    card.classList.toggle("small", small);
    (small ? expand : card).focus();
  }

  function close(): void {
    for (const end of ends.values()) end();
    card.hidden = true;
    room.disconnect();
    root.classList.remove("touring");
    if (before instanceof HTMLElement) before.focus();
  }

  card.hidden = false;
  root.classList.add("touring");
  room.observe(card);
  for (const one of tasks) {
    if (done.has(one.id)) continue;
    // It may be met at once, before there is anything to end.
    const end = one.watch(context, () => tick(one));
    if (done.has(one.id)) end();
    else ends.set(one.id, end);
  }
  show();
  card.focus();
}

/** Scrolls to where a task is done and puts the keyboard there. */
function lead({ where }: Task): void {
  const found = where
    .map((selector) => document.querySelector<HTMLElement>(selector))
    .find((element) => element?.checkVisibility());
  if (!found) return;
  if (found instanceof HTMLDetailsElement) found.open = true;
  found.scrollIntoView({ block: found.matches("section") ? "start" : "center" });
  const stop = "a[href], button:not([disabled]), input, select, summary, [tabindex='0']";
  const target = found.matches(stop) ? found : (found.querySelector<HTMLElement>(stop) ?? found);
  if (target === found && !found.matches(stop)) found.tabIndex = -1;
  target.focus({ preventScroll: true });
}
