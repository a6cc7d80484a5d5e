//! Any text as a header's value and as a body: compiled or refused; what is compiled breaks neither headers nor JSON,
//! whatever a client sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tallygate::render::{
    Response,
    body::Body,
    headers::{
        Headers,
        list::{Header, List, On},
    },
    rehearse,
};

fuzz_target!(|texts: (&str, &str)| {
    let (value, template) = texts;
    let headers = Header::new("x-fuzz", value, Some(On::Always)).and_then(|header| List::new(vec![header]));
    let headers = headers.map_or(Headers::None, Headers::List);
    let body = Body::template("application/json", template).unwrap_or_default();
    for rehearsed in rehearse(&Response { headers, body, retry_after: true }) {
        for (name, value) in &rehearsed.headers {
            assert!(value.iter().all(|byte| (0x20..0x7f).contains(byte)), "{name}: {value:?}");
        }
    }
});
