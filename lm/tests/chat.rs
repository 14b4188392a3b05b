//! Tests of chat templates: whole ones against Jinja's renderings, and their use by models and data files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flowrl_lm::chat::{ChatTemplate, TemplateFiles, TemplateOptions};
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::prompts::{PromptRow, RowKeys, parse_prompts};
use flowrl_lm::task::Text;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The result of jinja2 for a conversation, from `cargo xtask templates`.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rendering {
    Text(String),
    Error(String),
}

/// Renderings by template and conversation.
type Renderings = BTreeMap<String, BTreeMap<String, Rendering>>;

/// The result of comparing one rendering with jinja2's.
#[derive(Debug, PartialEq)]
enum Outcome {
    Same,
    BothRefuse,
    /// Refused only here, with our message.
    Stricter(String),
    /// Refused only by jinja2, with its message.
    Looser(String),
    /// The two texts, from their first difference on.
    Differs(String),
}

fn templates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates")
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn compare(source: &str, row: &PromptRow, wanted: &Rendering) -> Outcome {
    let tokens = r#"{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}"#;
    let files = TemplateFiles { tokenizer_config: Some(tokens), jinja: Some(source), ..TemplateFiles::default() };
    let template = ChatTemplate::from_files(files, |_| None).unwrap().unwrap();
    let date = TemplateOptions { date: Some("2026-11-30".parse().unwrap()), ..TemplateOptions::default() };
    match (row.render(Some(&template.with_options(date))), wanted) {
        (Ok(got), Rendering::Text(wanted)) if got == *wanted => Outcome::Same,
        (Ok(got), Rendering::Text(wanted)) => {
            let at = got.chars().zip(wanted.chars()).take_while(|(a, b)| a == b).count();
            let from = |text: &str| text.chars().skip(at.saturating_sub(20)).take(60).collect::<String>();
            Outcome::Differs(format!("{:?}, but jinja2 {:?}", from(&got), from(wanted)))
        }
        (Err(_), Rendering::Error(_)) => Outcome::BothRefuse,
        (Err(error), Rendering::Text(_)) => Outcome::Stricter(error.to_string()),
        (Ok(_), Rendering::Error(error)) => Outcome::Looser(error.clone()),
    }
}

fn rows() -> BTreeMap<String, PromptRow> {
    read(&templates().join("conversations.json"))
}

/// Lists printed as they are count as an error here, because a prompt with Python's brackets in it is useless.
fn is_list_of_parts(conversation: &str, outcome: &Outcome) -> bool {
    conversation == "parts"
        && matches!(outcome, Outcome::Stricter(error) if error.contains("write `content` as one string"))
}

/// Compares templates that use the constructs of real ones with stored renderings of jinja2. `cargo xtask
/// templates` rewrites `expected.json`.
#[test]
fn templates_render_as_in_jinja() {
    let rows = rows();
    let expected: Renderings = read(&templates().join("expected.json"));
    assert!(expected.len() >= 20);
    let mut wrong = Vec::new();
    for (name, renderings) in &expected {
        let source = fs::read_to_string(templates().join(name).with_extension("jinja")).unwrap();
        for (conversation, wanted) in renderings {
            let outcome = compare(&source, &rows[conversation], wanted);
            let is_fine = matches!(outcome, Outcome::Same | Outcome::BothRefuse);
            if !is_fine && !is_list_of_parts(conversation, &outcome) {
                wrong.push(format!("{name}, {conversation}: {outcome:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Compares the templates of the packages that `cargo xtask templates` fetches. That command runs this test and
/// prints its table.
#[test]
#[ignore = "cargo xtask templates runs it, on the file that FLOWRL_TEMPLATES names"]
fn real_templates_render_as_in_jinja() {
    #[derive(Deserialize)]
    struct Real {
        templates: BTreeMap<String, String>,
        expected: Renderings,
    }
    let real: Real = read(Path::new(&std::env::var("FLOWRL_TEMPLATES").unwrap()));
    let rows = rows();
    // The counts are: same, both refuse, list of parts, stricter, looser, differ.
    let mut counts = [0; 6];
    for (name, renderings) in &real.expected {
        for (conversation, wanted) in renderings {
            let outcome = compare(&real.templates[name], &rows[conversation], wanted);
            let column = match &outcome {
                Outcome::Same => 0,
                Outcome::BothRefuse => 1,
                outcome if is_list_of_parts(conversation, outcome) => 2,
                Outcome::Stricter(_) => 3,
                Outcome::Looser(_) => 4,
                Outcome::Differs(_) => 5,
            };
            counts[column] += 1;
            if column > 2 {
                println!("{name}, {conversation}: {outcome:?}");
            }
        }
    }
    let [same, both, parts, stricter, looser, differ] = counts;
    println!(
        "\n| templates | conversations | rendered the same | both refuse | a list of parts printed, refused here | refused here only | refused by jinja2 only | differ |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|");
    println!(
        "| {} | {} | {same} | {both} | {parts} | {stricter} | {looser} | {differ} |",
        real.expected.len(),
        rows.len()
    );
    assert_eq!(stricter + differ, 0, "renderings are listed above");
}

/// Copies a golden checkpoint and adds or replaces files; null deletes a file.
fn model(base: &str, files: &[(&str, Value)]) -> (TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/hf").join(base);
    for entry in fs::read_dir(golden).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    for (name, content) in files {
        let path = folder.path().join(name);
        match content {
            Value::Null => fs::remove_file(path).unwrap(),
            Value::String(text) => fs::write(path, text).unwrap(),
            json => fs::write(path, json.to_string()).unwrap(),
        }
    }
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    (folder, checkpoint)
}

fn with_template(template: &str) -> (TempDir, Checkpoint) {
    model("qwen2-tied", &[("chat_template.jinja", template.into())])
}

fn row(line: &str) -> PromptRow {
    parse_prompts(line.as_bytes(), Path::new("p.jsonl"), &RowKeys::default()).unwrap().remove(0)
}

const USER: &str = r#"{"prompt": [{"role": "user", "content": "How many pens?"}], "answer": 12}"#;
const TOOLS: &str = r#"{"prompt": [{"role": "user", "content": "rain?"}, {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "rain", "arguments": {}}}]}, {"role": "tool", "content": "no"}], "answer": 0}"#;

/// Returns the text that a model with this template gets for a row.
fn rendered(template: &str, line: &str) -> Result<String, String> {
    let (_folder, checkpoint) = with_template(template);
    Text::of(&checkpoint).unwrap().render(&row(line)).map_err(|error| error.to_string())
}

/// Old checkpoints name their begin token only in special_tokens_map.json, or leave it to the class of the tokenizer.
#[test]
fn the_begin_token_is_found_in_every_file() {
    let template = ("chat_template.jinja", "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}".into());
    let line = r#"{"prompt": [{"role": "user", "content": "3 5"}]}"#;
    let config = |edit: fn(&mut Value)| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/hf/llama3-rope-scaled/config.json");
        let mut config: Value = read(&path);
        edit(&mut config);
        config
    };
    let map = json!({"bos_token": "<|im_start|>", "eos_token": "<|endoftext|>"});
    for (file, wanted) in [
        (("special_tokens_map.json", map), &[1, 21, 223, 23][..]),
        (("tokenizer_config.json", json!({"bos_token": {"content": "<|im_start|>"}})), &[1, 21, 223, 23]),
        (("config.json", config(|c| c["bos_token_id"] = json!(1))), &[1, 21, 223, 23]),
        (("config.json", config(|_| ())), &[21, 223, 23]),
    ] {
        let name = file.0;
        let (_folder, checkpoint) = model("llama3-rope-scaled", &[template.clone(), file]);
        let text = Text::of(&checkpoint).unwrap();
        assert_eq!(text.encode_prompt(&row(line)).unwrap(), wanted, "{name}");
        let unknown: &[&str] = if wanted.len() == 4 { &[] } else { &["bos_token"] };
        assert_eq!(text.template().unwrap().unknown_tokens(), unknown, "{name}");
    }
    let (_folder, checkpoint) = model(
        "llama3-rope-scaled",
        &[template, ("tokenizer_config.json", json!({"tokenizer_class": "LlamaTokenizer"}))],
    );
    assert_eq!(Text::of(&checkpoint).unwrap().render(&row(line)).unwrap(), "<s>3 5");
}

#[test]
fn generation_blocks_are_read_past() {
    let template = "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}[{{ m.content }}]{% endif %}{% endfor %}";
    assert_eq!(rendered(template, USER).unwrap(), "[How many pens?]");
}

#[test]
fn a_broken_template_matters_only_to_conversations() {
    let (_folder, checkpoint) = with_template("{% frobnicate %}");
    let text = Text::of(&checkpoint).unwrap();
    assert_eq!(text.render(&PromptRow::text("3 5")).unwrap(), "3 5");
    let error = text.render(&row(USER)).unwrap_err().to_string();
    assert!(error.contains("chat template: ") && error.contains("frobnicate"), "{error}");
}

#[test]
fn neighbours_in_a_loop_are_known() {
    let template = "{% for m in messages %}{% if m.role == 'tool' %}{% if loop.previtem and loop.previtem.role != 'tool' %}<user>{% endif %}({{ m.content }}){% if not loop.last and loop.nextitem.role != 'tool' %}</user>{% endif %}{% else %}[{{ m.content }}]{% endif %}{% endfor %}";
    assert_eq!(rendered(template, TOOLS).unwrap(), "[rain?][]<user>(no)");
}

#[test]
fn none_is_not_iterable() {
    let template = "{% if tools is iterable and tools | length > 0 %}TOOLS{% endif %}{% for m in messages %}[{{ m.content }}]{% endfor %}";
    assert_eq!(rendered(template, USER).unwrap(), "[How many pens?]");
    let line = USER.replace("\"answer\"", "\"tools\": [{\"type\": \"function\"}], \"answer\"");
    assert_eq!(rendered(template, &line).unwrap(), "TOOLS[How many pens?]");
}

#[test]
fn the_date_is_the_one_that_was_given() {
    let (_folder, checkpoint) =
        with_template("Today: {{ strftime_now('%d %B %Y') }}{% for m in messages %}[{{ m.content }}]{% endfor %}");
    let options = TemplateOptions { date: Some("2024-07-26".parse().unwrap()), ..TemplateOptions::default() };
    let text = Text::of(&checkpoint).unwrap().with_template_options(options);
    assert!(text.template().unwrap().uses_date());
    assert_eq!(text.render(&row(USER)).unwrap(), "Today: 26 July 2024[How many pens?]");
}

#[test]
fn variables_come_from_the_row_and_from_the_user() {
    let (_folder, checkpoint) = with_template(
        "{% for m in messages %}[{{ m.content }}]{% endfor %}{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}",
    );
    let text = Text::of(&checkpoint).unwrap();
    let thinking = |value| {
        USER.replace("\"answer\"", &format!("\"chat_template_kwargs\": {{\"enable_thinking\": {value}}}, \"answer\""))
    };
    assert_eq!(text.render(&row(USER)).unwrap(), "[How many pens?]");
    assert_eq!(text.render(&row(&thinking(false))).unwrap(), "[How many pens?]<think></think>");
    let variables = json!({"enable_thinking": false}).as_object().unwrap().clone();
    let text = text.with_template_options(TemplateOptions { variables, ..TemplateOptions::default() });
    assert_eq!(text.render(&row(USER)).unwrap(), "[How many pens?]<think></think>");
    assert_eq!(text.render(&row(&thinking(true))).unwrap(), "[How many pens?]");
}

#[test]
fn tool_calls_are_rendered_and_a_prefill_is_continued() {
    let template = fs::read_to_string(templates().join("tool_calls.jinja")).unwrap();
    assert_eq!(
        rendered(&template, TOOLS).unwrap(),
        "<user>\nrain?</user>\n<assistant>\n<tool_call>\n{\"name\": \"rain\", \"arguments\": {}}\n</tool_call></assistant>\n\
         <user>\n<tool_response>\nno\n</tool_response></user>\n<assistant>\n"
    );
    let prefill = r#"{"prompt": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "The sum is "}], "answer": 4}"#;
    let row = row(prefill);
    assert_eq!(row.prompt.question(), "2+2?");
    assert_eq!(rendered(&template, prefill).unwrap(), "<user>\n2+2?</user>\n<assistant>\nThe sum is ");
    assert_eq!(serde_json::to_value(&row).unwrap(), serde_json::from_str::<Value>(prefill).unwrap());
}

#[test]
fn methods_of_strings_are_pythons() {
    let template = "{% for m in messages %}[{{ m.content.rsplit('-', 1)[0] }}]{% endfor %}";
    let line = r#"{"prompt": [{"role": "user", "content": "a-b-c"}]}"#;
    assert_eq!(rendered(template, line).unwrap(), "[a-b]");
    let error = rendered("{{ messages[0].content.rot13() }}", line).unwrap_err();
    assert!(error.contains("rot13"), "{error}");
}

#[test]
fn a_template_may_be_one_of_several_in_an_object() {
    let config =
        json!({"chat_template": {"default": "{{ messages[0].content }}{{ eos_token }}"}, "eos_token": "<|endoftext|>"});
    let (_folder, checkpoint) =
        model("qwen2-tied", &[("chat_template.jinja", Value::Null), ("tokenizer_config.json", config)]);
    assert_eq!(Text::of(&checkpoint).unwrap().render(&row(USER)).unwrap(), "How many pens?<|endoftext|>");
}
