import type { PanelContext } from "../panel";
import type { Part } from "../../state";

/** One thing to do. */
export interface Task {
  /** Names it where progress is kept, and its texts `tour-ID`, `tour-ID-why` and `tour-ID-see`. */
  readonly id: string;
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
    where: ["#beta", "#race"],
    watch: setting(({ beta }, before) => beta === 0 && before.beta !== 0),
  },
  {
    id: "high",
    where: ["#beta", "#race"],
    watch: setting(({ beta }, before) => beta >= 49 && before.beta < 49),
  },
  {
    id: "past",
    where: ["#scrub", "#race"],
    watch: ({ engine }, done) =>
      engine.status.subscribe(({ shown, step }) => {
        if (shown !== null && shown < step) done();
      }),
  },
  {
    id: "draw",
    where: ["[data-part=draw]", "#race"],
    part: "draw",
    watch: setting(({ drawing }, before) => drawing !== null && drawing !== before.drawing),
  },
  {
    id: "methods",
    where: ["[data-part=advanced]", "#race"],
    watch: setting(
      (now, before) =>
        now.lanes.join() !== before.lanes.join() || (now.solo !== null && now.solo !== before.solo),
    ),
  },
  {
    id: "update",
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
