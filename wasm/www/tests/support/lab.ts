import { type Page, expect } from "@playwright/test";
import type { Engine } from "../../src/engine/client.ts";
import type { Settings } from "../../src/state.ts";
import type { Store } from "../../src/store.ts";

declare global {
  interface Window {
    /** What main.ts leaves for tests and for the curious. */
    flowrl: { engine: Engine; settings: Store<Settings> };
  }
}

/** Opens the page, with what stands behind the # of its address, and waits for the race to be there. */
export async function open(page: Page, hash = ""): Promise<void> {
  await page.goto(`/${hash}`);
  await page.waitForFunction(() => Boolean(window.flowrl?.engine.frame.get()));
}

/** The chapters of the page below the race. */
export const CHAPTERS = ["update", "gradient", "tree", "map", "fails", "runs", "glossary"] as const;

/** Opens the page at one of its chapters and hides the others, which would take the processor as they came into view. */
export async function openChapter(page: Page, chapter: (typeof CHAPTERS)[number]): Promise<void> {
  await open(page, `#v=1&hide=${CHAPTERS.filter((other) => other !== chapter).join(".")}`);
  await page.locator(`#${chapter}`).evaluate((section) => section.scrollIntoView({ behavior: "instant" }));
  await expect(page.locator(`#${chapter} .body`)).toBeVisible();
}

/** Stops the race, starts it anew, and takes exactly so many steps. */
export async function runTo(page: Page, steps: number): Promise<void> {
  await page.evaluate(() => window.flowrl.engine.pause());
  await page.locator("#race").getByRole("button", { name: "Restart", exact: true }).click();
  await page.waitForFunction(() => window.flowrl.engine.status.get().step === 0);
  await page.evaluate((n) => window.flowrl.engine.step(n), steps);
  await page.waitForFunction((n) => window.flowrl.engine.status.get().step === n, steps);
}

/** A measure of every lane, by name. */
export function measure(page: Page, name: string): Promise<Record<string, number>> {
  return page.evaluate((what) => {
    const lanes = window.flowrl.engine.frame.get()?.lanes ?? [];
    return Object.fromEntries(lanes.map((lane) => [lane.kind, lane.measure(what)]));
  }, name);
}
