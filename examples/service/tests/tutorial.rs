//! The tutorial shows the code of this program.

/// The blocks of a Markdown text that are fenced as `language`.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    let blocks = text.split(fence.as_str()).skip(1);
    blocks.map(|block| block.split_once("```").expect("a fence that is closed").0).collect()
}

#[test]
fn each_block_is_quoted_from_the_program() {
    let tutorial = include_str!("../../../docs/tutorial.md");
    let (rust, toml) = (blocks(tutorial, "rust"), blocks(tutorial, "toml"));
    assert!(rust.len() > 5 && !toml.is_empty(), "{} and {} blocks", rust.len(), toml.len());
    for block in rust {
        assert!(include_str!("../src/main.rs").contains(block), "not in src/main.rs:\n{block}");
    }
    for block in toml {
        assert!(include_str!("../Cargo.toml").contains(block), "not in Cargo.toml:\n{block}");
    }
}
