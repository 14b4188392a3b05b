import type { PanelContext } from "../panel";
import type { Part } from "../../state";

/** One thing to do. */
export interface Task {
  /** Names it where progress is kept. */
  readonly id: string;
  readonly title: string;
  readonly why: string;
  /** What one sees when it is done. */
  readonly see: string;
  /** Where on the page: the first of these that is there. */
  readonly where: readonly string[];
  /** The part of the page it needs, which a teacher may have hidden. */
  readonly part?: Part;
  /** Watches for the reader doing it; gives a function that ends the watch. */
  readonly watch: (context: PanelContext, done: () => void) => () => void;
}

/** A watch of the settings. */
const setting =
  (
    met: (
      now: ReturnType<PanelContext["settings"]["get"]>,
      before: ReturnType<PanelContext["settings"]["get"]>,
    ) => boolean,
  ): Task["watch"] =>
  ({ settings }, done) =>
    settings.subscribe((now, before) => {
      if (met(now, before)) done();
    });

/** The tasks, in their order. */
export const TASKS: readonly Task[] = [
  {
    id: "watch",
    title: "Let the race run until FlowRL keeps 4 of 4 peaks and GRPO 1",
    why:
      "All policies get the same rewards and the same random numbers; only the loss differs. " +
      "It needs the four peaks with both methods in the race.",
    see: "FlowRL spreads over all four hills, most on the highest. GRPO has put everything there.",
    where: [".lanes", "#race"],
    watch: ({ engine }, done) =>
      engine.frame.subscribe((frame) => {
        const peaks = (kind: string) => {
          const lane = frame?.lanes.find((one) => one.kind === kind);
          return lane?.measure("modes") === 4 ? lane.measure("modes_found") : NaN;
        };
        if (peaks("flowrl") === 4 && peaks("grpo") === 1) done();
      }, true),
  },
  {
    id: "zero",
    title: "Move β to 0",
    why: "β says how much reward counts. What is the target when it does not count at all?",
    see: "The target is the reference, all answers alike. FlowRL follows it; GRPO has no β and stays.",
    where: ["#beta", "#race"],
    watch: setting(({ beta }, before) => beta === 0 && before.beta !== 0),
  },
  {
    id: "high",
    title: "Move β to 50",
    why: "At the other end reward is nearly all that counts.",
    see: "The target is almost the best answer alone. Matching and maximising now ask for the same.",
    where: ["#beta", "#race"],
    watch: setting(({ beta }, before) => beta >= 49 && before.beta < 49),
  },
  {
    id: "past",
    title: "Pause and drag time backwards",
    why: "Every policy is kept as it was, so that one can look at the moment when a peak was lost.",
    see: "The lanes show the past. Play, or “Back to now”, returns.",
    where: ["#scrub", "#race"],
    watch: ({ engine }, done) =>
      engine.status.subscribe(({ shown, step }) => {
        if (shown !== null && shown < step) done();
      }),
  },
  {
    id: "draw",
    title: "Draw a hill of your own",
    why: "The reward is anything you like, and the exact target follows at once.",
    see: "Your hill gets its share of the target. Does FlowRL find it? Does GRPO still care?",
    where: ["[data-part=draw]", "#race"],
    part: "draw",
    watch: setting(({ drawing }, before) => drawing !== null && drawing !== before.drawing),
  },
  {
    id: "methods",
    title: "Take a method in or out, or show one alone",
    why: "VarGrad and FlowRL as published also wait for their turn.",
    see: "The race starts anew when the methods change. One alone is shown large.",
    where: ["[data-part=advanced]", "#race"],
    watch: setting(
      (now, before) =>
        now.lanes.join() !== before.lanes.join() || (now.solo !== null && now.solo !== before.solo),
    ),
  },
  {
    id: "update",
    title: "Look inside one update",
    why: "A loss is a number for each sampled answer: too likely, or not likely enough.",
    see:
      "FlowRL pushes even a good answer down once it has more than its share. " +
      "GRPO pushes up whatever beats its batch, however much that has already.",
    where: ["#update"],
    part: "update",
    watch: (_, done) => {
      const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && done(), {
        rootMargin: "-45% 0px -45% 0px",
      });
      const section = document.querySelector("#update");
      if (section) observer.observe(section);
      return () => observer.disconnect();
    },
  },
  {
    id: "map",
    title: "Open the β map and load a cell",
    why: "One run shows one β and one learning rate. The map shows them all.",
    see: "The race starts with the cell's settings, and ends as the map foretold.",
    where: ["#map"],
    part: "map",
    watch: ({ settings }, done) => {
      let touched: EventTarget | null = null;
      const touch = (event: Event) => (touched = event.target);
      const events = ["pointerdown", "keydown"] as const;
      for (const event of events) document.addEventListener(event, touch, true);
      const end = settings.subscribe((now, before) => {
        const changed = now.beta !== before.beta || now.learningRate !== before.learningRate;
        if (changed && touched instanceof Element && touched.closest("#map")) done();
      });
      return () => {
        end();
        for (const event of events) document.removeEventListener(event, touch, true);
      };
    },
  },
];
