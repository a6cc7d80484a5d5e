//! The live view: the terminal as a screen of its own, drawn anew every second, until somebody has seen enough.

use std::{
    io::{self, Read as _, Write as _},
    time::Duration,
};

use anyhow::Context as _;
use http::Method;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};
use serde_json::Value;

use super::view::{Size, view};
use crate::cli::client::Client;

/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where a terminal does not say how large it is.
const USUAL_SIZE: Size = Size { columns: 80, rows: 24 };

// As every terminal of the last decades understands them (ECMA-48, and xterm's 1049).
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Ctrl-C and Ctrl-D, as a terminal without signals says them.
const END: [u8; 2] = [0x03, 0x04];

/// Shows what is going on until `q` or Ctrl-C. A service that does not answer is asked again: it may be starting.
///
/// # Errors
///
/// What the terminal says.
pub(super) fn run(client: &Client) -> anyhow::Result<()> {
    let _screen = Screen::enter().context("the terminal cannot be used")?;
    let mut before: Option<Value> = None;
    loop {
        let text = match client.ask(Method::GET, "/v1/top", None) {
            Ok(now) => {
                let text = view(before.as_ref(), &now, Screen::size());
                before = Some(now);
                text
            }
            Err(error) => format!("{error:#}\n\nasking again"),
        };
        Screen::draw(&text)?;
        if Screen::is_left_within(LOOK_EVERY)? {
            return Ok(());
        }
    }
}

/// The terminal while it is ours; as it was once dropped.
struct Screen {
    before: Termios,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut ours = before.clone();
        // Keys come as they are pressed, are not shown, and Ctrl-C is one of them: whatever ends us restores the terminal.
        ours.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        tcsetattr(io::stdin(), OptionalActions::Now, &ours)?;
        let screen = Self { before };
        write(ENTER)?;
        Ok(screen)
    }

    /// Draws over what is there, so that nothing flickers.
    fn draw(text: &str) -> io::Result<()> {
        let lines: Vec<&str> = text.lines().collect();
        let lines = lines.join(&format!("{CLEAR_TO_END_OF_LINE}\r\n"));
        write(&format!("{HOME}{lines}{CLEAR_TO_END_OF_LINE}{CLEAR_BELOW}"))
    }

    /// As it is now: people resize it.
    fn size() -> Size {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                Size { columns: size.ws_col.into(), rows: size.ws_row.into() }
            }
            _ => USUAL_SIZE,
        }
    }

    /// Waits for so long, or until a key says that it is enough.
    fn is_left_within(time: Duration) -> io::Result<bool> {
        let stdin = io::stdin();
        let timeout = Timespec::try_from(time).map_err(io::Error::other)?;
        if poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&timeout))? == 0 {
            return Ok(false);
        }
        let mut keys = [0; 64];
        let pressed = stdin.lock().read(&mut keys)?;
        let ends = |key: &u8| END.contains(key) || key.eq_ignore_ascii_case(&b'q');
        // Without an end of the terminal there is nobody to look.
        Ok(pressed == 0 || keys[..pressed].iter().any(ends))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It is as good as gone where this fails.
        let _ = write(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
