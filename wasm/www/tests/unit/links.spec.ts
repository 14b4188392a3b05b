import { readFileSync } from "node:fs";
import { expect, test } from "@playwright/test";
import { decode, encode } from "../../src/state";

const html = readFileSync(new URL("../../index.html", import.meta.url), "utf8");
const links = [...html.matchAll(/href="#(v=[^"]*)"/g)].map(([, link]) => link!.replaceAll("&amp;", "&"));

test("every setup that the page links to says what it means", () => {
  expect(links.length).toBeGreaterThan(10);
  // What could not be read would be lost on the way.
  for (const link of links) expect(encode(decode(link))).toBe(link);
});

test("no two cards or chips lead to the same setup", () => {
  expect(new Set(links).size).toBe(links.length);
});
