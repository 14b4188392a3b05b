import { violations } from "../support/axe.ts";
import { openChapter } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

test("words are found", async ({ page }) => {
  await openChapter(page, "glossary");
  const terms = page.locator(".terms dt:visible");
  await expect(terms).toHaveCount(26);
  await page.getByLabel("Find a word").fill("PARTITION");
  await expect(terms).toHaveText(["Z, the partition function"]);
  await expect(page.locator(".find output")).toHaveText("1 of 26");
  await page.getByLabel("Find a word").fill("");
  await expect(terms).toHaveCount(26);
  expect(await violations(page, "#glossary")).toEqual([]);
});

test("words are there before any script runs", async ({ browser, origin }) => {
  const page = await browser.newPage({ javaScriptEnabled: false });
  await page.goto(`${origin}/`);
  await expect(page.locator(".terms dt")).toHaveCount(26);
  await page.close();
});

test("a chip loads its setup", async ({ page }) => {
  await page.goto("./");
  await page.locator("#glossary").scrollIntoViewIfNeeded();
  await expect(page.getByLabel("Find a word")).toBeVisible();
  await page.getByRole("link", { name: "A needle" }).click();
  await expect(page).toHaveURL(/#v=1&b=10&p=needle$/);
  await expect(page.locator("#race-title")).toBeInViewport();
});

test.describe("for teachers", () => {
  test.use({ permissions: ["clipboard-read", "clipboard-write"] });

  test("a link hides what is not chosen", async ({ page }) => {
    await page.goto("./#v=1&b=2");
    await page.getByRole("button", { name: "Teach" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Metrics").uncheck();
    await dialog.getByLabel("β map").uncheck();
    expect(await violations(page)).toEqual([]);
    await dialog.getByRole("button", { name: "Copy the link" }).click();
    await expect(dialog).toContainText("Copied.");
    const link = await page.evaluate(() => navigator.clipboard.readText());
    expect(link).toContain("#v=1&b=2&hide=metrics.map");
    await page.keyboard.press("Escape");
    await expect(dialog).toHaveCount(0);
    await expect(page.getByRole("button", { name: "Teach" })).toBeFocused();
    await expect(page.locator("#map")).toBeVisible();

    const pupil = await page.context().newPage();
    await pupil.goto(link);
    await expect(pupil.locator("#version")).toContainText("flowrl");
    for (const part of ["#map", "nav a[href='#map']", ".metrics"])
      await expect(pupil.locator(part)).toBeHidden();
    await expect(pupil.locator("#fails")).toBeVisible();
  });

  test("it applies here too, and back", async ({ page }) => {
    await page.goto("./");
    for (const [act, hidden] of [
      ["uncheck", true],
      ["check", false],
    ] as const) {
      await page.getByRole("button", { name: "Teach" }).click();
      await page.getByRole("dialog").getByLabel("Glossary")[act]();
      await page.getByRole("button", { name: "Apply here" }).click();
      await expect(page.locator("#glossary")).toBeVisible({ visible: !hidden });
    }
  });
});
