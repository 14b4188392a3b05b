//! Reads the tests of a row, in the shapes that data sets have.

use serde_json::{Map, Value};

/// One test.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Case {
    /// The program reads `input` and should print `output`.
    Print { input: String, output: String },
    /// A function gets `arguments`, a JSON list, and should return one of `wanted`.
    Call { name: String, arguments: String, wanted: Vec<Value> },
    /// Code that runs after the program and raises no exception.
    Check { code: String },
}

/// Keys under which tests lie within another object.
const WRAPPERS: [&str; 5] = ["tests", "test_cases", "unit_tests", "ground_truth", "input_output"];
/// Keys of lists of tests that belong together.
const PARTS: [&str; 5] =
    ["public_tests", "private_tests", "generated_tests", "public_test_cases", "private_test_cases"];
/// Keys of lists of assertions.
const ASSERTIONS: [&str; 5] = ["assert_case", "test_list", "challenge_test_list", "asserts", "assertions"];

/// Returns the tests of an answer, at least one.
///
/// # Errors
/// Returns the forms of an answer, as the rest of a sentence.
pub(super) fn read(answer: &Value) -> Result<Vec<Case>, String> {
    let cases = any(answer, None, 0)?;
    if cases.is_empty() {
        return Err("at least one test".into());
    }
    Ok(cases)
}

/// Reads tests of any shape. `name` is the function to call, if an outer object names one.
fn any(value: &Value, name: Option<&str>, depth: usize) -> Result<Vec<Case>, String> {
    if depth > 4 {
        return Err("tests, without objects nested so deeply".into());
    }
    match value {
        Value::String(text) => match serde_json::from_str(text) {
            Ok(inner @ (Value::Array(_) | Value::Object(_))) => any(&inner, name, depth + 1),
            _ if text.contains("assert") => Ok(functions(text)),
            _ => Err("tests as an object, a list, their JSON text, or Python code with assertions".into()),
        },
        Value::Array(items) => {
            let all = items.iter().enumerate().map(|(i, item)| match item {
                Value::String(code) => assertion(code, &format!("[{i}]")),
                Value::Object(fields) => one(fields, name, i),
                other => Err(format!("tests; [{i}] is {}, not a test", kind(other))),
            });
            all.collect()
        }
        Value::Object(fields) => object(fields, name, depth),
        other => Err(format!("tests, not {}", kind(other))),
    }
}

/// Reads an object that holds all tests of a row.
fn object(fields: &Map<String, Value>, outer: Option<&str>, depth: usize) -> Result<Vec<Case>, String> {
    let metadata = metadata(fields.get("metadata"));
    let named = ["fn_name", "func_name"].iter().find_map(|key| fields.get(*key)?.as_str());
    let name = named.or(metadata.as_deref()).filter(|name| !name.is_empty()).or(outer);
    for (inputs, outputs) in [("inputs", "outputs"), ("input", "output")] {
        if let (Some(input), Some(output)) = (fields.get(inputs), fields.get(outputs)) {
            return match (input, output) {
                (Value::Array(input), Value::Array(output)) if input.len() == output.len() => {
                    let pairs = input.iter().zip(output).enumerate();
                    pairs.map(|(i, (input, output))| pair(input, output, name, &format!("[{i}]"))).collect()
                }
                (Value::Array(input), Value::Array(output)) => Err(format!(
                    "tests with as many `{inputs}` as `{outputs}`: there are {} and {}",
                    input.len(),
                    output.len()
                )),
                (input, output) => pair(input, output, name, "").map(|case| vec![case]),
            };
        }
    }
    if let Some(code) = fields.get("test").and_then(Value::as_str) {
        return match fields.get("entry_point").map(|entry| entry.as_str().filter(|name| is_name(name))) {
            Some(Some(entry)) => Ok(vec![Case::Check { code: format!("{code}\n\ncheck({entry})\n") }]),
            Some(None) => Err("tests whose `entry_point` is the name of a function".into()),
            None => Ok(functions(code)),
        };
    }
    if let Some((key, list)) = ASSERTIONS.iter().find_map(|key| Some((key, fields.get(*key)?.as_array()?))) {
        let setup = setup(fields);
        let code = |(i, item): (usize, &Value)| match item.as_str() {
            Some(code) => assertion(&format!("{setup}{code}"), &format!("`{key}[{i}]`")),
            None => Err(format!("tests; `{key}[{i}]` is {}, but must be a text with an assertion", kind(item))),
        };
        return list.iter().enumerate().map(code).collect();
    }
    let parts: Vec<_> = PARTS.iter().filter_map(|key| Some((key, fields.get(*key)?))).collect();
    let mut cases = Vec::new();
    for (key, part) in &parts {
        let inside = any(part, name, depth + 1);
        cases.extend(inside.map_err(|wanted| format!("tests; `{key}` must be {wanted}; if it is packed, unpack it"))?);
    }
    if !parts.is_empty() {
        return Ok(cases);
    }
    if let Some(inner) = WRAPPERS.iter().find_map(|key| fields.get(*key)) {
        return any(inner, name, depth + 1);
    }
    let keys: Vec<_> = fields.keys().map(|key| format!("`{key}`")).take(8).collect();
    Err(format!(
        "tests: `inputs` and `outputs`, a list of `input` and `output`, `test_list`, `assert_case`, or `test` and `entry_point`; it has {}",
        if keys.is_empty() { "no key".into() } else { keys.join(", ") }
    ))
}

/// Reads a test of a list.
fn one(fields: &Map<String, Value>, outer: Option<&str>, i: usize) -> Result<Case, String> {
    let (Some(input), Some(output)) = (fields.get("input"), fields.get("output")) else {
        return Err(format!("tests; [{i}] has no `input` or no `output`"));
    };
    let metadata = metadata(fields.get("metadata"));
    let named = ["fn_name", "func_name"].iter().find_map(|key| fields.get(*key)?.as_str());
    let name = named.or(metadata.as_deref()).or(outer);
    match fields.get("testtype").or(fields.get("type")).and_then(Value::as_str) {
        Some("functional" | "function_call") if name.is_none() => {
            Err(format!("tests; [{i}] calls a function: name it in `fn_name`"))
        }
        Some("stdin" | "stdin_stdout") => pair(input, output, None, &format!("[{i}]")),
        _ => pair(input, output, name, &format!("[{i}]")),
    }
}

/// Makes a test from an input and an output.
fn pair(input: &Value, output: &Value, name: Option<&str>, at: &str) -> Result<Case, String> {
    let Some(name) = name else {
        let input = lines(input).ok_or_else(|| format!("tests; input{at} is {}, not a text", kind(input)))?;
        let output = lines(output).ok_or_else(|| format!("tests; output{at} is {}, not a text", kind(output)))?;
        return Ok(Case::Print { input, output });
    };
    if !is_name(name) {
        return Err(format!("tests; {name:?} is not the name of a function"));
    }
    let (arguments, wanted) = match input {
        Value::Array(arguments) => {
            // APPS wraps the result of a function in a list of one.
            let mut wanted = vec![output.clone()];
            wanted.extend(output.as_array().filter(|items| items.len() == 1).map(|items| items[0].clone()));
            (arguments.clone(), wanted)
        }
        Value::String(text) => {
            let values = text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str);
            let arguments = values.collect::<Result<Vec<Value>, _>>();
            let arguments =
                arguments.map_err(|_| format!("tests; input{at} must have one argument per line, as JSON"))?;
            let read = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| output.clone());
            let wanted = if let Value::String(text) = output { read(text) } else { output.clone() };
            (arguments, vec![wanted])
        }
        other => return Err(format!("tests; input{at} is {}, not a list of arguments", kind(other))),
    };
    Ok(Case::Call { name: name.into(), arguments: Value::Array(arguments).to_string(), wanted })
}

/// Returns a text, or the lines of a list of texts.
fn lines(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            items.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|lines| lines.join("\n"))
        }
        _ => None,
    }
}

fn assertion(code: &str, at: &str) -> Result<Case, String> {
    match code.contains("assert") {
        true => Ok(Case::Check { code: code.into() }),
        false => Err(format!("tests; {at} is a text without an assertion")),
    }
}

/// Splits code for pytest into its functions; code without such is one test.
fn functions(code: &str) -> Vec<Case> {
    let name = |line: &str| {
        let (name, _) = line.strip_prefix("def ")?.split_once('(')?;
        (name.starts_with("test_") && is_name(name)).then(|| name.to_owned())
    };
    let names: Vec<_> = code.lines().filter_map(name).collect();
    if names.is_empty() {
        return vec![Case::Check { code: code.into() }];
    }
    names.iter().map(|name| Case::Check { code: format!("{code}\n\n{name}()\n") }).collect()
}

/// Returns the code that MBPP runs before its assertions.
fn setup(fields: &Map<String, Value>) -> String {
    let texts = ["test_imports", "test_setup_code"].iter().filter_map(|key| lines(fields.get(*key)?));
    texts.filter(|text| !text.is_empty()).map(|text| text + "\n").collect()
}

/// Returns the function that the metadata of LiveCodeBench names; they are an object or its JSON text.
fn metadata(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str().and_then(|text| serde_json::from_str(text).ok());
    let object = text.as_ref().or(value)?;
    object.get("func_name")?.as_str().map(String::from)
}

fn is_name(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() || c == '_') && name.chars().next().is_some_and(|c| !c.is_numeric())
}

/// Describes a value briefly.
fn kind(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
        Value::String(_) => "a text".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn print(input: &str, output: &str) -> Case {
        Case::Print { input: input.into(), output: output.into() }
    }

    fn call(arguments: &str, wanted: &[Value]) -> Case {
        Case::Call { name: "f".into(), arguments: arguments.into(), wanted: wanted.into() }
    }

    fn check(code: &str) -> Case {
        Case::Check { code: code.into() }
    }

    #[test]
    fn shapes_of_data_sets_are_read() {
        let two = vec![print("1\n", "2\n"), print("3\n", "4\n")];
        let pairs = json!({"inputs": ["1\n", "3\n"], "outputs": ["2\n", "4\n"]});
        let list = json!([{"input": "1\n", "output": "2\n", "testtype": "stdin"}, {"input": "3\n", "output": "4\n"}]);
        for (answer, wanted) in [
            (pairs.clone(), two.clone()),
            (json!(pairs.to_string()), two.clone()),
            (json!({"ground_truth": pairs.to_string()}), two.clone()),
            (list.clone(), two.clone()),
            (json!({"test_cases": list}), two.clone()),
            (
                json!({"public_tests": {"input": ["1\n"], "output": ["2\n"]}, "private_tests": {"input": ["3\n"], "output": ["4\n"]},
                       "generated_tests": {"input": [], "output": []}}),
                two,
            ),
            (json!({"inputs": [["1", "2"]], "outputs": [["3"]]}), vec![print("1\n2", "3")]),
            (
                json!({"fn_name": "f", "inputs": [[1, [2]], [3, [4]]], "outputs": [[5], 6]}),
                vec![call("[1,[2]]", &[json!([5]), json!(5)]), call("[3,[4]]", &[json!(6)])],
            ),
            (
                json!({"fn_name": "f", "inputs": ["[1, 2]\n\"a\""], "outputs": ["[3]"]}),
                vec![call("[[1,2],\"a\"]", &[json!([3])])],
            ),
            (
                json!({"metadata": "{\"func_name\": \"f\"}",
                       "public_test_cases": "[{\"input\": \"1\", \"output\": \"2\", \"testtype\": \"functional\"}]"}),
                vec![call("[1]", &[json!(2)])],
            ),
            (
                json!({"test_list": ["assert f(1) == 2", "assert f(2) == 3"], "test_setup_code": "", "test_imports": ["import re"]}),
                vec![check("import re\nassert f(1) == 2"), check("import re\nassert f(2) == 3")],
            ),
            (json!({"assert_case": ["assert f(1) == 2"]}), vec![check("assert f(1) == 2")]),
            (json!(["assert f(1) == 2"]), vec![check("assert f(1) == 2")]),
            (json!("assert f(1) == 2"), vec![check("assert f(1) == 2")]),
            (
                json!({"test": "def check(candidate):\n    assert candidate(1) == 2", "entry_point": "f"}),
                vec![check("def check(candidate):\n    assert candidate(1) == 2\n\ncheck(f)\n")],
            ),
            (
                json!({"test": "def test_a():\n    assert 1\ndef test_b():\n    assert 2"}),
                ["a", "b"]
                    .map(|name| {
                        check(&format!("def test_a():\n    assert 1\ndef test_b():\n    assert 2\n\ntest_{name}()\n"))
                    })
                    .into(),
            ),
        ] {
            assert_eq!(read(&answer).as_ref(), Ok(&wanted), "{answer}");
        }
    }

    #[test]
    fn other_shapes_are_refused_with_the_place() {
        for (answer, part) in [
            (json!(null), "not null"),
            (json!(3), "not 3"),
            (json!("42"), "Python code with assertions"),
            (json!([]), "at least one test"),
            (json!({}), "no key"),
            (json!({"solution": 1, "x": 2}), "it has `solution`, `x`"),
            (json!({"inputs": [], "outputs": []}), "at least one test"),
            (json!({"inputs": ["1"], "outputs": []}), "1 and 0"),
            (json!({"inputs": ["1", 5], "outputs": ["1", "2"]}), "input[1] is 5, not a text"),
            (json!({"inputs": ["1"], "outputs": [{}]}), "output[0] is an object"),
            (json!({"fn_name": "f g", "inputs": [[1]], "outputs": [1]}), "\"f g\" is not the name"),
            (json!({"fn_name": "f", "inputs": ["1, 2"], "outputs": [1]}), "input[0] must have one argument per line"),
            (json!({"fn_name": "f", "inputs": [5], "outputs": [1]}), "not a list of arguments"),
            (json!([{"input": "1", "output": "2", "testtype": "functional"}]), "name it in `fn_name`"),
            (json!([{"input": "1"}]), "[0] has no `input` or no `output`"),
            (json!(["print(1)"]), "[0] is a text without an assertion"),
            (json!([1]), "[0] is 1"),
            (json!({"test_list": [1]}), "`test_list[0]` is 1"),
            (json!({"test": "def check(c): pass", "entry_point": 1}), "name of a function"),
            (json!({"private_test_cases": "eJxrYJ"}), "`private_test_cases` must be"),
            (json!({"tests": {"tests": {"tests": {"tests": {"tests": {"tests": []}}}}}}), "nested so deeply"),
        ] {
            let wanted = read(&answer).unwrap_err();
            assert!(wanted.contains(part), "{answer}: {wanted}");
        }
    }
}
