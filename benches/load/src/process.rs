//! Another process, as the system accounts for it.

use std::{fs, io, time::Duration};

/// By its number.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

/// Of `/proc/PID/stat`; Linux has told times there in hundredths of a second on every machine for twenty years.
const TICK: Duration = Duration::from_millis(10);

impl Process {
    /// User and system time of all its threads so far, also of those that ended.
    pub fn cpu(self) -> io::Result<Duration> {
        let path = format!("/proc/{}/stat", self.0);
        let text = read(&path)?;
        // The second field is the program's name in brackets and may hold anything; after it come the third and on.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u32>().ok());
        let (user, system) = ticks(14).zip(ticks(15)).ok_or_else(|| unreadable(&path))?;
        Ok(TICK * user + TICK * system)
    }

    /// What it has in memory.
    pub fn resident_bytes(self) -> io::Result<u64> {
        let path = format!("/proc/{}/status", self.0);
        let text = read(&path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kib.ok_or_else(|| unreadable(&path))? * 1_024)
    }
}

fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(path).map_err(|error| io::Error::new(error.kind(), format!("cannot read {path}: {error}")))
}

fn unreadable(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not as the manual has it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_sees_itself_use_time_and_memory() {
        let own = Process(std::process::id());
        let before = own.cpu().unwrap();
        let mut sum = 0_u64;
        while own.cpu().unwrap() == before {
            sum = std::hint::black_box(sum.wrapping_mul(31) + 1);
        }
        assert!(own.resident_bytes().unwrap() > 100_000);
    }
}
