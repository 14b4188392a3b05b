import type { Page } from "@playwright/test";
import { violations } from "../support/axe.ts";
import { expect, test } from "../support/page.ts";

interface Lab {
  engine: { step(steps: number): void; show(step: number | null): void; status: { get(): { step: number } } };
  settings: { patch(change: object): void };
}
const lab = (page: Page, act: string, value: unknown) =>
  page.evaluate(
    ([name, what]) => {
      const { engine, settings } = (window as unknown as { flowrl: Lab }).flowrl;
      if (name === "step") engine.step(what as number);
      else if (name === "show") engine.show(what as number);
      else settings.patch(what as object);
    },
    [act, value] as const,
  );
const dot = (page: Page, number: number, state: string) =>
  page.getByRole("button", { name: `Task ${number}, ${state}` });

async function start(page: Page): Promise<void> {
  await page.goto("./");
  await expect(page.locator("#version")).toContainText("flowrl");
  await page.getByRole("button", { name: "Tour" }).click();
  await expect(page.getByRole("complementary")).toContainText("1. Let the race run");
}

test("tasks tick themselves off when they are done", async ({ page }) => {
  await start(page);
  await expect(dot(page, 1, "open")).toBeVisible();
  await lab(page, "step", 600);
  await expect(dot(page, 1, "done")).toBeVisible({ timeout: 30_000 });
  await expect(page.getByRole("complementary")).toContainText("FlowRL spreads over all four hills");
  await page.getByRole("complementary").getByRole("button", { name: "Next" }).click();
  await expect(page.getByRole("heading", { name: "2. Move β to 0" })).toBeVisible();
  await page.getByRole("button", { name: "Show me where" }).click();
  await expect(page.locator("#beta")).toBeFocused();
  await page.keyboard.press("Home");
  await expect(dot(page, 2, "done")).toBeVisible();
  await page.keyboard.press("End");
  await expect(dot(page, 3, "done")).toBeVisible();
  await lab(page, "show", 100);
  await expect(dot(page, 4, "done")).toBeVisible();
  await lab(page, "patch", {
    drawing: { rewards: new Array(256).fill(9), reference: new Array(256).fill(1) },
  });
  await expect(dot(page, 5, "done")).toBeVisible();
  await lab(page, "patch", { solo: "flowrl" });
  await expect(dot(page, 6, "done")).toBeVisible();
  await expect(dot(page, 7, "open")).toBeVisible();
  await page.locator("#update").evaluate((section) => section.scrollIntoView({ block: "start" }));
  await expect(dot(page, 7, "done")).toBeVisible();
  await expect(dot(page, 8, "open")).toBeVisible();
  // Any other change of β is not a cell of the map.
  await lab(page, "patch", { beta: 3 });
  await expect(dot(page, 8, "open")).toBeVisible();
  await page.locator("#map").dispatchEvent("pointerdown");
  await lab(page, "patch", { beta: 4 });
  await expect(dot(page, 8, "done")).toBeVisible();
  await dot(page, 8, "done").click();
  await expect(page.getByRole("complementary")).toContainText("That was the whole tour");
  await page.getByRole("button", { name: "Finish" }).click();
  await expect(page.getByRole("complementary")).toHaveCount(0);
});

test("it is made small and brought back, and what was done is kept", async ({ page }) => {
  await start(page);
  await lab(page, "patch", { beta: 0 });
  await expect(dot(page, 2, "done")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("heading", { name: "1. Let" })).toBeHidden();
  await expect(page.getByRole("button", { name: "Tour: 1 of 8" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "1. Let" })).toBeVisible();
  await page.getByRole("button", { name: "Close the tour" }).click();
  await expect(page.getByRole("button", { name: "Tour" })).toBeFocused();
  await page.reload();
  await page.getByRole("button", { name: "Tour" }).click();
  await expect(dot(page, 2, "done")).toBeVisible();
});

test("tasks of parts that a teacher hides are left out", async ({ page }) => {
  await page.goto("./#v=1&hide=draw.map");
  await page.getByRole("button", { name: "Tour" }).click();
  await expect(page.locator(".dots li")).toHaveCount(6);
});

test("axe finds nothing, wide and at 320 px", { tag: "@narrow" }, async ({ page }) => {
  await start(page);
  expect(await violations(page)).toEqual([]);
  await page.setViewportSize({ width: 320, height: 700 });
  expect(await violations(page)).toEqual([]);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(320);
});
