import { violations } from "../support/axe.ts";
import { CHAPTERS, open } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

type Page = import("@playwright/test").Page;

/**
 * What the page goes through, one after the other, each left in a way that the next can follow, and the part of it that
 * axe looks at then: nothing where everything that has come is still there in the next.
 */
const states: readonly (readonly [name: string, part: string, enter: (page: Page) => Promise<unknown>])[] = [
  ["as it opens", "html", async () => {}],
  ["running", "#race", async (page) => {
    await page.locator("#play").click();
    await expect(page.locator("#rate")).toHaveText(/\/s$/);
  }],
  ["one lane alone", "#race", async (page) => {
    await page.locator("#play").click();
    await page.getByRole("button", { name: "Show FlowRL alone" }).click();
  }],
  ["one lane hidden", "", async (page) => {
    await page.getByRole("button", { name: "Show all lanes" }).click();
    await page.getByRole("button", { name: "Hide GRPO" }).click();
  }],
  ["methods open", "", (page) => page.locator("#race").getByText("Methods and settings").click()],
  ["drawing", "#race", (page) => page.locator("#race").getByRole("button", { name: "Draw", exact: true }).click()],
  ["difference", "", (page) => page.getByRole("radio", { name: "Difference from the target" }).check()],
  ["in the past", "#race", async (page) => {
    await page.getByLabel("Time: back to an earlier step").focus();
    await page.keyboard.press("Home");
    await page.getByRole("button", { name: "Go on from here" }).waitFor();
  }],
  ["after a trap", "#race", async (page) => {
    await page.evaluate(() => window.flowrl.engine.crash());
    await page.getByRole("alert").waitFor();
  }],
  ["dialog open", "#export", (page) => page.getByRole("button", { name: "Share" }).click()],
];

for (const colorScheme of ["light", "dark"] as const) {
  for (const width of [1280, 320]) {
    // The colours change no width.
    test.describe(`${colorScheme}, ${width} px`, { tag: width === 320 && colorScheme === "light" ? "@narrow" : [] }, () => {
      // High enough that no bar that stays in place lies over a control, which axe takes for a small one.
      test.use({ colorScheme, viewport: { width, height: 2600 } });
      test("axe finds nothing in any state, and nothing is wider than the window", async ({ page }) => {
        test.slow();
        await open(page);
        for (const [name, part, enter] of states) {
          await enter(page);
          if (part) expect(await violations(page, part), name).toEqual([]);
          expect(await page.evaluate(() => document.documentElement.scrollWidth), name).toBeLessThanOrEqual(width);
        }
      });
    });
  }
}

test.describe("forced colours", () => {
  test.use({ contextOptions: { forcedColors: "active", reducedMotion: "reduce" }, viewport: { width: 1280, height: 2600 } });

  test("axe finds nothing in any state of the race, nor in the chapters and what opens over them", async ({ page }) => {
    test.slow();
    await open(page);
    expect(await page.evaluate(() => matchMedia("(forced-colors: active)").matches)).toBe(true);
    for (const [name, part, enter] of states) {
      await enter(page);
      if (part) expect(await violations(page, part), name).toEqual([]);
    }
    await page.keyboard.press("Escape");
    for (const name of CHAPTERS) {
      await page.locator(`#${name}`).evaluate((chapter) => chapter.scrollIntoView({ behavior: "instant" }));
      await expect(page.locator(`#${name} .body`)).toBeVisible();
      expect(await violations(page, `#${name}`), name).toEqual([]);
    }
    // The whole page again, all of its chapters open.
    for (const name of ["Teach", "Tour"]) {
      await page.getByRole("button", { name, exact: true }).click();
      expect(await violations(page), name).toEqual([]);
      await page.keyboard.press("Escape");
    }
  });

  test("what is chosen is seen, and keys to charts keep their colours", async ({ page }) => {
    await open(page);
    const style = (selector: string, property: string) =>
      page.locator(selector).first().evaluate((element, name) => getComputedStyle(element).getPropertyValue(name), property);
    await page.getByRole("button", { name: "Tour", exact: true }).click();
    for (const chosen of ["#faces :checked + span", '.preset[aria-pressed="true"]', ".dot[aria-current]"]) {
      expect(await style(chosen, "outline-style"), chosen).toBe("solid");
    }
    for (const other of ["#faces input:not(:checked) + span", '.preset[aria-pressed="false"]', ".dot:not([aria-current])"]) {
      expect(await style(other, "outline-style"), other).toBe("none");
    }
    const canvas = await style("body", "background-color");
    for (const key of [".lane .mark", ".tree-key:not(.plain)"]) expect(await style(key, "background-color"), key).not.toBe(canvas);
  });
});

test("every control of the race is reached by Tab, and shows that it is", async ({ page }) => {
  await open(page);
  const reached = new Set<string>();
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press("Tab");
    const [name, visible] = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement;
      // After the last control the focus goes through the browser's own.
      if (element === document.body) return ["body", true];
      const outline = getComputedStyle(element).outlineStyle;
      const next = element.nextElementSibling ? getComputedStyle(element.nextElementSibling).outlineStyle : "none";
      return [element.id || element.textContent || element.getAttribute("aria-label") || element.tagName, outline !== "none" || next !== "none"];
    });
    expect(visible, `${name} has a visible focus`).toBe(true);
    reached.add(name.trim());
  }
  for (const name of ["beta", "scrub", "speed", "play", "step", "restart", "draw", "tools-share"]) expect([...reached]).toContain(name);
});
