//! Tests `docs/reference/command-line.md`. It must describe exactly the command's subcommands, options and
//! defaults.

use crate::args::Cli;
use clap::{Arg, Command, CommandFactory};
use std::collections::{BTreeMap, BTreeSet};

/// The options named in a text, without their hyphens.
fn options(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
}

/// The options of a command, with their defaults.
fn options_of(command: &Command) -> BTreeMap<&str, Option<String>> {
    let default = |arg: &Arg| {
        let values = arg.get_default_values().iter().map(|value| value.to_string_lossy());
        arg.get_action().takes_values().then(|| values.collect::<Vec<_>>().join(" "))
    };
    let named = command.get_arguments().filter_map(|arg| Some((arg.get_long()?, default(arg)?)));
    let flags = command.get_arguments().filter(|arg| !arg.get_action().takes_values());
    let flags = flags.filter_map(Arg::get_long).filter(|name| !["help", "version"].contains(name));
    named
        .map(|(name, default)| (name, (!default.is_empty()).then_some(default)))
        .chain(flags.map(|name| (name, None)))
        .collect()
}

/// The pieces of a text between backquotes. Every second one is code.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split('`')
}

/// The command that a piece of code runs.
fn command_of(code: &str) -> Option<&str> {
    code.strip_prefix("vecstore ")?.split(' ').next()
}

/// A section, without the code that runs commands of other sections.
fn without_others(section: &str, names: &[&str]) -> String {
    let is_own = |piece: &&str| command_of(piece).is_none_or(|name| names.contains(&name));
    pieces(section).map(|piece| Some(piece).filter(is_own).unwrap_or_default()).collect::<Vec<_>>().join("`")
}

/// The part of a section about one of its commands: the whole section, or the blocks and rows that name the
/// command.
fn part<'a>(section: &'a str, command: &str, is_alone: bool) -> Vec<&'a str> {
    if is_alone {
        return section.lines().collect();
    }
    let is_about = |line: &str| line.contains(&format!("`{command}`"));
    let blocks = section.split("\n\n").map(|block| block.lines().collect::<Vec<_>>());
    blocks
        .flat_map(|lines| {
            let all = lines.first().is_some_and(|line| is_about(line));
            lines.into_iter().filter(move |line| all || line.contains(&format!("`vecstore {command} ")))
        })
        .collect()
}

/// The options of a table row. Each has its default, if the row gives one for each of them.
fn defaults<'a>(row: &'a str) -> Vec<(&'a str, String)> {
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    let [_, names, default, _, _] = cells[..] else { return Vec::new() };
    let plain = |text: &str| text.trim().replace([',', '`'], "");
    let names: Vec<&'a str> =
        names.split("--").skip(1).filter_map(|name| name.split([' ', '`', ',']).next()).collect();
    let defaults: Vec<String> = default.split(';').map(plain).collect();
    if names.len() != defaults.len() {
        return Vec::new();
    }
    names.into_iter().zip(defaults).collect()
}

#[test]
fn the_reference_names_every_command_option_and_default_and_no_other() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/command-line.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut cli = Cli::command();
    cli.build();
    let commands: BTreeMap<&str, _> = cli
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .map(|command| (command.get_name(), options_of(command)))
        .collect();
    let sections: Vec<(&str, &str)> =
        text.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    let find = |heading: &str| sections.iter().find(|section| section.0 == heading).unwrap().1;
    assert!(options(find("Conventions")).contains("backend"));
    let (_, thresholds) = text.split_once("### Thresholds").unwrap();
    let thresholds = thresholds.split("\n## ").next().unwrap();

    let mut described = BTreeSet::new();
    for (heading, section) in sections {
        if !heading.starts_with(|c: char| c.is_ascii_lowercase()) {
            continue;
        }
        let names: Vec<&str> = heading.split(", ").collect();
        let section = &without_others(section, &names);
        let mut known = BTreeSet::new();
        for name in &names {
            assert!(described.insert(*name), "{name} has two sections");
            let takes = commands.get(name).unwrap_or_else(|| panic!("there is no command {name}"));
            let mut lines = part(section, name, names.len() == 1);
            if section.contains("thresholds") {
                lines.extend(thresholds.lines());
            }
            let told: BTreeSet<&str> = lines.iter().flat_map(|line| options(line)).collect();
            for option in takes.keys() {
                assert!(told.contains(option) || *option == "backend", "{name}: --{option} is not described");
            }
            for (option, told) in lines.iter().flat_map(|line| defaults(line)) {
                if let Some(Some(default)) = takes.get(option) {
                    assert_eq!(&told, default, "{name} --{option}");
                }
            }
            known.extend(takes.keys().copied());
        }
        // A section may also mention options of other commands that it names.
        let others = pieces(section).skip(1).step_by(2).filter_map(|code| commands.get(code));
        known.extend(others.flat_map(|takes| takes.keys().copied()));
        for option in options(section) {
            assert!(known.contains(option), "{heading}: there is no --{option}");
        }
    }
    assert_eq!(described, commands.keys().copied().collect());
    for code in pieces(&text).skip(1).step_by(2) {
        let Some(name) = command_of(code).filter(|name| *name != "COMMAND") else { continue };
        let takes = commands.get(name).unwrap_or_else(|| panic!("there is no command {name}: {code}"));
        for option in options(code) {
            assert!(takes.contains_key(option), "{name} has no --{option}: {code}");
        }
    }
}

#[test]
fn the_help_says_the_same_of_exit_codes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/command-line.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, table) = text.split_once("## Exit codes").unwrap();
    let rows = table.split("\n## ").next().unwrap().lines().filter_map(|row| {
        let (code, meaning) = row.strip_prefix("| ")?.split_once(" | ")?;
        code.parse::<u8>().is_ok().then_some((code, meaning))
    });
    let cli = Cli::command();
    let help = cli.get_after_help().unwrap().to_string();
    let (_, mut rest) = help.split_once("Exit codes: ").unwrap();
    let is_command = |name: &&str| cli.find_subcommand(name).is_some();
    let mut rows = rows.peekable();
    while let Some((code, meaning)) = rows.next() {
        let said = rest.strip_prefix(code).unwrap_or_else(|| panic!("{code} is not next in {rest:?}"));
        let end = rows.peek().map_or(said.len(), |(next, _)| said.find(&format!(", {next} ")).unwrap());
        let (said, further) = said.split_at(end);
        let commands: Vec<&str> = pieces(meaning).skip(1).step_by(2).filter(is_command).collect();
        let in_help = said.split(|c: char| !c.is_ascii_alphanumeric()).filter(is_command);
        assert_eq!(in_help.collect::<Vec<_>>(), commands, "{code}");
        rest = further.trim_start_matches([',', ' ']);
    }
    assert_eq!(rest, "");
}
