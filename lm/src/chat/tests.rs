//! Tests of single features of rendering. Whole templates are compared with Jinja's own renderings in
//! `lm/tests/chat.rs`.

use serde_json::json;

use super::*;

fn messages(value: Value) -> Vec<Message> {
    serde_json::from_value(value).unwrap()
}

fn conversation() -> Vec<Message> {
    messages(json!([{"role": "user", "content": " Hi, you\n"}, {"role": "user", "content": "x"}]))
}

fn render_with(source: &str, messages: &[Message], inputs: ChatInputs) -> Result<String> {
    ChatTemplate::new(source).render(messages, &inputs)
}

fn render(source: &str) -> Result<String> {
    render_with(source, &conversation(), ChatInputs::default())
}

fn failure(source: &str) -> String {
    render(source).unwrap_err().to_string()
}

#[test]
fn blocks_are_trimmed_as_transformers_does() {
    let source = "{% for m in messages %}\n    {% if loop.first %}\nA\n    {% endif %}\n{% endfor %}\nZ\n";
    assert_eq!(render(source).unwrap(), "A\nZ");
    assert_eq!(render(&source.replace('\n', "\r\n")).unwrap(), "A\nZ");
}

/// Every expected result was computed by Python.
#[test]
fn python_methods_work() {
    for (expression, wanted) in [
        ("messages[0].content.strip()", "Hi, you"),
        ("messages[0]['content'].rstrip()", " Hi, you"),
        ("messages[0].content.lstrip()", "Hi, you\n"),
        ("'xxaxx'.strip('x')", "a"),
        ("'\x1c\u{a0}a\x1f'.strip()", "a"),
        ("'a,b,c'.split(',')[-1]", "c"),
        ("'a,b,c'.split(',', 1)[1]", "b,c"),
        ("'a,b,c'.split(sep=',', maxsplit=1)", "['a', 'b,c']"),
        ("' a  b '.split()", "['a', 'b']"),
        ("' a  b  c '.split(None, 1)", "['a', 'b  c ']"),
        ("'  '.split()", "[]"),
        ("''.split(',')", "['']"),
        ("'a-b-c'.rsplit('-', 1)", "['a-b', 'c']"),
        ("' a  b  c '.rsplit(None, 1)", "[' a  b', 'c']"),
        ("' a  b '.rsplit()", "['a', 'b']"),
        ("' a  b '.split(None, 0)", "['a  b ']"),
        ("' a  b '.rsplit(None, 0)", "[' a  b']"),
        ("'a=b=c'.partition('=')", "('a', '=', 'b=c')"),
        ("'a=b=c'.rpartition('=')", "('a=b', '=', 'c')"),
        ("'abc'.partition('=')", "('abc', '', '')"),
        ("'abc'.rpartition('=')", "('', '', 'abc')"),
        ("'<think>a</think>b'.split('</think>')[0].lstrip('\n')", "<think>a"),
        ("'abc'.startswith('ab') and 'abc'.endswith('bc')", "True"),
        ("'abc'.startswith(('x', 'ab'))", "True"),
        ("'abc'.startswith('b', 1)", "True"),
        ("'abc'.removeprefix('ab') ~ 'abc'.removesuffix('bc') ~ 'abc'.removeprefix('x')", "caabc"),
        ("'aBc'.upper() ~ 'aBc'.lower() ~ 'aBc'.capitalize()", "ABCabcAbc"),
        ("\"hello world they're x1y 中a\".title()", "Hello World They'Re X1Y 中A"),
        ("'aXb'.swapcase()", "AxB"),
        ("'aXbX'.replace('X', '-')", "a-b-"),
        ("'aXbX'.replace('X', '-', 1)", "a-bX"),
        ("'aXbX'.replace('X', '-', count=-1)", "a-b-"),
        ("'-'.join(['a', 'b'])", "a-b"),
        ("'äbc'.find('c')", "2"),
        ("'abc'.find('z')", "-1"),
        ("'abcabc'.rfind('b')", "4"),
        ("'abcabc'.find('b', 2)", "4"),
        ("'abcabc'.find('b', -2)", "4"),
        ("'abc'.find('', 4)", "-1"),
        ("'abcabc'.index('c') ~ 'abcabc'.rindex('c')", "25"),
        ("'banana'.count('an')", "2"),
        ("'banana'.count('an', 2)", "1"),
        ("'a\nb\r\nc\u{2028}d\n'.splitlines()", "['a', 'b', 'c', 'd']"),
        ("'a\x0bb'.splitlines(True)|length", "2"),
        ("'12'.isdigit()", "True"),
        ("'a1'.isalnum() ~ 'a1'.isalpha() ~ ' \x1d'.isspace()", "TrueFalseTrue"),
        ("'A1'.isupper() ~ '1'.isupper() ~ 'ab'.islower()", "TrueFalseTrue"),
        ("'ab'.center(5, '*') ~ 'ab'.center(5) ~ 'abc'.center(4)", "**ab*  ab abc "),
        ("'ab'.ljust(4, '.') ~ 'ab'.rjust(4, '.')", "ab....ab"),
        ("'-7'.zfill(4) ~ '7'.zfill(3) ~ 'abcd'.zfill(2)", "-007007abcd"),
        ("'{} {} {name} {{}}'.format('a', 'b', name='c') ~ '{1}{0}'.format('a', 'b')", "a b c {}ba"),
        ("messages[0].get('role')", "user"),
        ("messages[0].get('tool_calls', 'none')", "none"),
        ("messages[0].keys()|list", "['role', 'content']"),
        ("messages[1].values()|list", "['user', 'x']"),
        ("messages[1].items()|list", "[('role', 'user'), ('content', 'x')]"),
        ("{'items': 1}.items()|list", "[('items', 1)]"),
        ("['a', 'b'].index('b') ~ ['a', 'a'].count('a')", "12"),
        ("messages[::-1][0].content", "x"),
        ("messages[1:]|length", "1"),
        ("{'b': [1, 'é<'], 'a': none}|tojson", "{\"b\": [1, \"é<\"], \"a\": null}"),
        ("{'a': [1], 'b': {}, 'c': []}|tojson(indent=2)", "{\n  \"a\": [\n    1\n  ],\n  \"b\": {},\n  \"c\": []\n}"),
        (
            "{'b': 1, 'a': '😀\x01\"'}|tojson(ensure_ascii=true, sort_keys=true)",
            r#"{"a": "\ud83d\ude00\u0001\"", "b": 1}"#,
        ),
        ("[1.5, 2.0, true]|tojson(separators=(',', ':'))", "[1.5,2.0,true]"),
        ("messages|map(attribute='role')|list|tojson", "[\"user\", \"user\"]"),
        ("'a\nb\n\nc\n'|indent(2)", "a\n  b\n\n  c\n"),
        ("'a\nb\n'|indent(width=1, first=true, blank=true)", " a\n b\n "),
        ("'a\nb'|indent('> ')", "a\n> b"),
        ("' one two_2, 3 '|wordcount", "3"),
        ("'\x1d a '|trim", "a"),
        ("'xax'|trim('x')", "a"),
        (
            "none is iterable ~ 1 is iterable ~ 'a' is iterable ~ [] is iterable ~ x is iterable",
            "FalseFalseTrueTrueTrue",
        ),
        ("'a' is sequence ~ {} is sequence ~ none is sequence ~ messages[1:] is sequence", "TrueTrueFalseTrue"),
    ] {
        assert_eq!(render(&format!("{{{{ {expression} }}}}")).unwrap(), wanted, "{expression}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    for (expression, wanted) in [
        ("'a'.frobnicate(1, 2)", "frobnicate"),
        ("'a'.encode()", "encode"),
        ("messages.append(1)", "append"),
        ("messages[0].update({})", "update"),
        ("none.strip()", "strip"),
        ("'a'.upper(1)", "too many"),
        ("'a'.index('b')", "index"),
        ("'a'.split('')", "empty separator"),
        ("'a'.split(separator=',')", "separator"),
        ("'{:>3}'.format(1)", "{:>3}"),
        ("'{x}'.format(1)", "{x}"),
        ("'a'.ljust(9000000)", "9000000"),
        ("','.join([1])", "1 is not a string"),
        ("{}|tojson(intend=1)", "intend"),
        ("undefined_thing|tojson", "undefined"),
        ("'a'|frobnicate", "frobnicate"),
        ("frobnicate()", "frobnicate"),
        ("strftime_now('%Q')", "%Q"),
        ("cycler()", "cycler"),
    ] {
        let error = failure(&format!("{{{{ {expression} }}}}"));
        assert!(error.starts_with("chat template: ") && error.contains(wanted), "{expression}: {error}");
    }
}

#[test]
fn cyclers_and_joiners_count() {
    let source = "{% set c = cycler('a', 'b') %}{% set j = joiner('|') %}{% for m in [1, 2, 3] %}{{ j() }}{{ c.current }}{{ c.next() }}{% endfor %}";
    assert_eq!(render(source).unwrap(), "aa|bb|aa");
    let source =
        "{% set c = cycler(1, 2) %}{% set _ = c.next() %}{% set _ = c.reset() %}{{ c.next() }}{{ joiner()() }}";
    assert_eq!(render(source).unwrap(), "1");
}

/// Uses the constructs of Qwen3's template, which searches for the last question from the end.
#[test]
fn namespaces_and_reversed_loops_work() {
    let source = r#"{%- if tools is not none %}tools{%- endif %}
{%- set ns = namespace(search=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.search and message.role == "user" and message.content is string and not(message.content.startswith('<a>') and message.content.endswith('</a>')) %}
        {%- set ns.search = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{{- ns.last }}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>' }}
    {%- endif %}
{%- endif %}"#;
    let messages = [Message::user("q"), Message::user("<a>x</a>")];
    assert_eq!(render_with(source, &messages, ChatInputs::default()).unwrap(), "0<|im_start|>assistant\n");
}

#[test]
fn loops_can_break() {
    assert_eq!(render("{% for m in messages %}{{ m.role }}{% break %}{% endfor %}").unwrap(), "user");
}

#[test]
fn what_the_template_raises_is_the_error() {
    let error = failure("{{ raise_exception('no system role') }}");
    assert_eq!(error, "chat template: the template refuses the conversation: no system role");
    let inside = "{% macro f() %}{% set x %}{{ raise_exception('no') }}{% endset %}{% endmacro %}{{ f() }}";
    assert_eq!(failure(inside), "chat template: the template refuses the conversation: no");
}

#[test]
fn a_broken_template_is_an_error_when_it_is_used() {
    let template = ChatTemplate::new("{% for %}");
    assert!(template.unknown_tokens().is_empty() && !template.uses_date());
    let error = template.render(&conversation(), &ChatInputs::default()).unwrap_err().to_string();
    assert!(error.starts_with("chat template: syntax error"), "{error}");
}

#[test]
fn endless_and_huge_renderings_end_in_an_error() {
    let limited = |source: &str, limits| ChatTemplate { limits, ..ChatTemplate::new(source) };
    let error = |source: &str, limits| {
        limited(source, limits).render(&conversation(), &ChatInputs::default()).unwrap_err().to_string()
    };
    let few = Limits { instructions: 10_000, ..LIMITS };
    let nested = "{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}";
    assert!(error(nested, few).contains("more than 10000 instructions"), "{}", error(nested, few));
    let short = Limits { bytes: 1 << 20, ..LIMITS };
    let loud = "{% for a in range(300) %}{{ 'x' * 10000 }}{% endfor %}";
    assert!(error(loud, short).contains("more than 1 MiB of text"), "{}", error(loud, short));
    let deep = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}";
    assert!(error(deep, LIMITS).contains("recursion"), "{}", error(deep, LIMITS));
    assert_eq!(limited("{{ 'x' * 1000 }}", LIMITS).render(&[], &ChatInputs::default()).unwrap().len(), 1000);
}

#[test]
fn the_date_is_the_given_one_or_todays() {
    let source = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %}";
    let template = ChatTemplate::new(source);
    assert!(template.uses_date());
    let text = |template: &ChatTemplate| template.render(&conversation(), &ChatInputs::default()).unwrap();
    assert_eq!(text(&template), Date::today().format("%d %b %Y").unwrap());
    let options = json!({"date": "2024-07-26"}).as_object().unwrap().clone();
    let template = template.with_options(TemplateOptions::from_json(options).unwrap());
    assert_eq!((text(&template), template.date().to_string()), ("26 Jul 2024".into(), "2024-07-26".into()));
}

#[test]
fn options_that_cannot_be_are_named() {
    let error = |value: Value| TemplateOptions::from_json(value.as_object().unwrap().clone()).unwrap_err().to_string();
    assert!(error(json!({"date": "yesterday"})).contains("`date` is \"yesterday\""));
    assert!(error(json!({"date": 3})).contains("`date` is 3"));
    assert!(error(json!({"messages": []})).contains("`messages`"));
}

#[test]
fn the_variables_of_a_row_win_over_those_of_the_user_and_these_over_the_models() {
    let files = TemplateFiles {
        tokenizer_config: Some(r#"{"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<p>"}"#),
        jinja: Some("{{ bos_token }} {{ eos_token }} {{ pad_token }} {{ enable_thinking }}"),
        ..TemplateFiles::default()
    };
    let template = ChatTemplate::from_files(files, |_| None).unwrap().unwrap();
    let options = TemplateOptions {
        variables: json!({"eos_token": "user", "pad_token": "user", "enable_thinking": false})
            .as_object()
            .unwrap()
            .clone(),
        ..TemplateOptions::default()
    };
    let inputs = ChatInputs { chat_template_kwargs: json!({"pad_token": "row"}), ..ChatInputs::default() };
    assert_eq!(template.with_options(options).render(&[], &inputs).unwrap(), "<s> user row False");
}

#[test]
fn tokens_that_are_used_and_not_known_are_told() {
    let template = ChatTemplate::new("{{ bos_token }}{% if x %}{{ sep_token }}{{ y.eos_token }}{% endif %}");
    assert_eq!(template.unknown_tokens(), ["bos_token", "sep_token"]);
    assert_eq!(template.render(&[], &ChatInputs::default()).unwrap(), "");
    let variables = json!({"bos_token": "<s>"}).as_object().unwrap().clone();
    let template = template.with_options(TemplateOptions { variables, ..TemplateOptions::default() });
    assert_eq!(template.unknown_tokens(), ["sep_token"]);
}

#[test]
fn what_no_template_names_is_told() {
    let inputs = ChatInputs {
        tools: json!([{}]),
        chat_template_kwargs: json!({"enable_thinkin": false, "enable_thinking": true}),
        ..ChatInputs::default()
    };
    let call = messages(json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}]));
    let template = ChatTemplate::new("{{ messages }}{{ enable_thinking }}");
    assert_eq!(template.unused(&call, &inputs), ["enable_thinkin", "tools", "tool_calls"]);
    assert!(ChatTemplate::new("{{ tools }}{{ m.tool_calls }}").unused(&call, &ChatInputs::default()).is_empty());
    let variables = json!({"x1": 1}).as_object().unwrap().clone();
    let template = template.with_options(TemplateOptions { variables, ..TemplateOptions::default() });
    assert_eq!(template.unused(&[], &ChatInputs::default()), ["x1"]);
}

#[test]
fn a_last_message_of_the_assistant_is_continued() {
    let closed = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    let trimmed = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}";
    let parts = "{% for m in messages %}<{{ m.role }}>{% for p in m.content %}{{ p.text }}{% endfor %}</>{% endfor %}";
    let said = |content: Value| {
        messages(json!([{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": content}]))
    };
    let list = json!([{"type": "text", "text": "The "}, {"type": "text", "text": "sum is "}]);
    let user = messages(
        json!([{"role": "user", "content": [{"type": "text", "text": "2+2?"}]}, {"role": "assistant", "content": list}]),
    );
    for (source, messages, wanted) in [
        (closed, &said(json!("The sum is ")), "<user>2+2?</><assistant>The sum is "),
        (closed, &said(json!("2+2?")), "<user>2+2?</><assistant>2+2?"),
        (trimmed, &said(json!(" The sum is ")), "<user>2+2?</><assistant>The sum is"),
        (parts, &user, "<user>2+2?</><assistant>The sum is "),
    ] {
        assert_eq!(render_with(source, messages, ChatInputs::default()).unwrap(), wanted);
    }
    let error = |source: &str, messages: &[Message]| {
        render_with(source, messages, ChatInputs::default()).unwrap_err().to_string()
    };
    let dropped = "{{ messages[0].content }}";
    assert!(error(dropped, &said(json!("The sum is"))).contains("does not print it unchanged and exactly once"));
    let twice = "{{ messages[-1].content }}{{ messages[-1].content }}";
    assert!(error(twice, &said(json!("The sum is"))).contains("does not print it unchanged and exactly once"));
    let cut = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}";
    assert!(error(cut, &said(json!("<think>a</think>b"))).contains("does not print it unchanged and exactly once"));
    assert!(error(closed, &said(json!(" "))).contains("no text to continue"));
    let call = messages(json!([{"role": "assistant", "content": "a", "tool_calls": [{"function": {"name": "f"}}]}]));
    assert!(error(closed, &call).contains("no text to continue"));
}

#[test]
fn lists_of_parts_are_for_templates_that_know_them() {
    let list = messages(json!([{"role": "user", "content": [{"type": "text", "text": "it's"}]}]));
    let known = "{% if messages[0].content is string %}s{% else %}{{ messages[0].content[0].text }}{% endif %}";
    assert_eq!(render_with(known, &list, ChatInputs::default()).unwrap(), "it's");
    for source in ["{{ messages[0].content }}", "{{ 'x' + messages[0].content }}"] {
        let error = render_with(source, &list, ChatInputs::default()).unwrap_err().to_string();
        assert!(error.contains("one string"), "{error}");
    }
}

#[test]
fn templates_are_found_where_models_keep_them() {
    let load = |config, jinja| {
        let files = TemplateFiles { tokenizer_config: config, jinja, ..TemplateFiles::default() };
        ChatTemplate::from_files(files, |_| None)
    };
    let tools = ChatInputs { tools: json!([{}]), ..ChatInputs::default() };
    let rendered = |config, jinja, inputs| load(config, jinja).unwrap().unwrap().render(&[], inputs);
    let plain = &ChatInputs::default();
    let text = |config, jinja| rendered(config, jinja, plain).unwrap();
    assert_eq!(text(Some(r#"{"chat_template": "{{ bos_token }}1", "bos_token": {"content": "<s>"}}"#), None), "<s>1");
    let list = r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d{{ eos_token }}"}], "eos_token": "e"}"#;
    let map = r#"{"chat_template": {"default": "d{{ eos_token }}", "tool_use": "t"}, "eos_token": "e"}"#;
    for named in [list, map] {
        assert_eq!(text(Some(named), None), "de");
        assert_eq!(rendered(Some(named), None, &tools).unwrap(), "t");
        assert_eq!(text(Some(named), Some("file{{ eos_token }}")), "filee");
    }
    assert!(load(Some("{}"), None).unwrap().is_none());
    assert!(load(None, None).unwrap().is_none());
    assert!(load(Some("{"), None).unwrap_err().to_string().contains("tokenizer_config.json"));
    for (config, wanted) in [
        (r#"{"chat_template": [{"name": "rag", "template": "r"}]}"#, "`default`; their names are `rag`"),
        (r#"{"chat_template": 3}"#, "neither a string"),
        (r#"{"chat_template": {"default": 3}}"#, "neither a string"),
    ] {
        let error = rendered(Some(config), None, plain).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}
