import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const path = (relative: string) => fileURLToPath(new URL(`../../node_modules/${relative}`, import.meta.url));
const folder = path(".fontconfig");

/**
 * The faces that a machine has, and which of them is the mathematical one. Liberation, which Chromium recommends
 * too, is left out: where DejaVu is, text is in that.
 */
const SETS = {
  /** Those of Debian's fonts-dejavu-core. */
  bare: {
    files: ["DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold"],
    math: "DejaVu Sans",
  },
  /** Those of fonts-dejavu-extra as well, which Chromium recommends. */
  recommended: { files: ["*"], math: "DejaVu Math TeX Gyre" },
};
export type Faces = keyof typeof SETS;

/** Where fontconfig, and so Chromium on Linux, is told of these faces and of no other: for the variable FONTCONFIG_FILE. */
export const fontconfig = (faces: Faces): string => `${folder}/${faces}.conf`;

/** Playwright calls this before the first test. */
export default function write(): void {
  mkdirSync(folder, { recursive: true });
  for (const faces of Object.keys(SETS) as Faces[]) writeFileSync(fontconfig(faces), configuration(faces));
}

function configuration(faces: Faces): string {
  const { files, math } = SETS[faces];
  const families = { "sans-serif": "DejaVu Sans", serif: "DejaVu Serif", monospace: "DejaVu Sans Mono", math };
  const aliases = Object.entries(families).map(
    ([name, family]) => `<alias binding="same"><family>${name}</family><prefer><family>${family}</family></prefer></alias>`,
  );
  return `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>${escaped(path("dejavu-fonts-ttf/ttf"))}</dir>
  <cachedir>${escaped(folder)}</cachedir>
  <selectfont>
    <rejectfont><glob>*</glob></rejectfont>
    <acceptfont>${files.map((name) => `<glob>*/${name}.ttf</glob>`).join("")}</acceptfont>
  </selectfont>
  ${aliases.join("\n  ")}
  <match><edit name="family" mode="append_last"><string>DejaVu Sans</string></edit></match>
</fontconfig>
`;
}

const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
