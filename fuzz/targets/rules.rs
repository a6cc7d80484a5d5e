//! Any bytes as a rule file: compiled or refused with places, never a panic, never long.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tallygate::config::{DomainDefaults, RuleFile, compile};

fuzz_target!(|text: &[u8]| {
    let file = RuleFile { name: "fuzz".into(), path: "fuzz.yaml".into(), text: text.to_vec() };
    let no_lists = &mut |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    match compile(&[file], DomainDefaults::default(), no_lists) {
        Ok(compiled) => assert!(compiled.rules.domains.len() <= text.len()),
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty(), "refused without a reason");
            for diagnostic in diagnostics {
                let drawn = diagnostic.draw(&String::from_utf8_lossy(text));
                assert!(!drawn.contains('\u{1b}'), "a terminal would obey this");
            }
        }
    }
});
