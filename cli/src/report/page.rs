//! The page around the content: a single file that loads no other. Only a served page has a script.

use super::Kind;
use crate::format::escape;

pub(crate) const STYLE: &str = include_str!("style.css");

/// A part of the page with a link in the navigation.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) body: String,
}

/// Returns a box with a list of notes; it is empty without notes.
pub(crate) fn note_box(notes: &[String]) -> String {
    let items: String = notes.iter().map(|note| format!("<li>{}</li>", escape(note))).collect();
    if items.is_empty() { items } else { format!("<div class=note><ul>{items}</ul></div>") }
}

/// Returns the whole document. Sections with an empty body are left out.
pub(crate) fn page(title: &str, subtitle: &str, kind: Kind, sections: &[Section]) -> String {
    let (mut links, mut body) = (String::new(), String::new());
    for (index, Section { title, body: content }) in sections.iter().enumerate() {
        if content.is_empty() {
            continue;
        }
        let title = escape(title);
        links += &format!("<a href='#s{index}'>{title}</a>");
        body += &format!("<section id=s{index}><h2>{title}</h2>{content}</section>\n");
    }
    let (title, mut subtitle) = (escape(title), escape(subtitle));
    let (policy, more, state) = match kind {
        Kind::Ended => ("", "", ""),
        Kind::GoesOn => ("", "<meta http-equiv=refresh content=30>", ""),
        Kind::Served => (
            " script-src 'self'; connect-src 'self';",
            "<script src=/watch.js defer></script>",
            "<p id=state role=status></p>",
        ),
    };
    if kind == Kind::GoesOn {
        subtitle += " · still running";
    }
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none';{policy} style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\
         <meta name=viewport content='width=device-width, initial-scale=1'><meta name=referrer content=no-referrer>\
         <title>{title} · flowrl</title>{more}<style>{STYLE}</style></head>\n<body>{state}<main><header><h1>{title}</h1>\
         <p class=sub>{subtitle}</p><nav aria-label=Sections>{links}</nav></header>\n{body}\
         <footer>Written by flowrl-cli. Every number of every step is in metrics.jsonl.</footer></main></body></html>\n"
    )
}
