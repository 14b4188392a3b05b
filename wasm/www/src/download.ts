/** Hands a file to the browser to be saved; a text has a media type. */
export function download(name: string, content: Blob | string, type = ""): void {
  const url = URL.createObjectURL(new Blob([content], { type: content instanceof Blob ? content.type : type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // After the browser has begun to read it.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
