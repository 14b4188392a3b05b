import { violations } from "../support/axe.ts";
import { open } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

const states: Record<string, (page: import("@playwright/test").Page) => Promise<void>> = {
  "as it opens": async () => {},
  paused: (page) => page.getByRole("button", { name: "Pause" }).click(),
  drawing: (page) => page.getByRole("button", { name: "Draw" }).click(),
  "one lane alone": (page) => page.getByRole("button", { name: "Show FlowRL alone" }).click(),
  "methods open": (page) => page.getByText("Methods and settings").click(),
  "dialog open": (page) => page.getByRole("button", { name: "Share" }).click(),
  "in the past": async (page) => {
    await page.getByLabel("Time: back to an earlier step").focus();
    await page.keyboard.press("Home");
  },
  "after a trap": async (page) => {
    await page.evaluate(() => window.flowrl.engine.crash());
    await page.getByRole("alert").waitFor();
  },
};

for (const colorScheme of ["light", "dark"] as const) {
  for (const width of [1280, 320]) {
    test.describe(`${colorScheme}, ${width} px`, () => {
      test.use({ colorScheme, viewport: { width, height: 800 } });
      for (const [name, enter] of Object.entries(states)) {
        test(`axe finds nothing ${name}`, async ({ page }) => {
          await open(page);
          await page.waitForFunction(() => window.flowrl.engine.status.get().step > 20);
          await enter(page);
          expect(await violations(page)).toEqual([]);
          expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
        });
      }
    });
  }
}

test("every control of the race is reached by Tab, and shows that it is", async ({ page }) => {
  await open(page);
  const reached = new Set<string>();
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press("Tab");
    const [name, visible] = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement;
      const outline = getComputedStyle(element).outlineStyle;
      const next = element.nextElementSibling ? getComputedStyle(element.nextElementSibling).outlineStyle : "none";
      return [element.id || element.textContent || element.getAttribute("aria-label") || element.tagName, outline !== "none" || next !== "none"];
    });
    expect(visible, `${name} has a visible focus`).toBe(true);
    reached.add(name.trim());
  }
  for (const name of ["beta", "scrub", "speed", "Pause", "Step", "Restart", "Draw", "Share"]) expect([...reached]).toContain(name);
});
