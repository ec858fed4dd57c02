//! A guest's standard output and error: lines of its log, within the log's bounds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::sandbox::Log;
use crate::limits::{LOG_BYTES_MAX, LOG_LINE_BYTES_MAX};
use crate::run::LogLevel;

/// Where a guest writes to. It takes everything and keeps what the bounds let it; the rest is counted, and the guest goes on.
#[derive(Clone, Default)]
pub(super) struct Output(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    log: Log,
    /// The line that is not at its end yet.
    begun: Vec<u8>,
}

impl Lines {
    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let text = &rest[..end.unwrap_or(rest.len())];
            // What is beyond a line's bound is cut, as of a logged line.
            let room = LOG_LINE_BYTES_MAX - self.begun.len();
            self.begun.extend_from_slice(&text[..text.len().min(room)]);
            rest = &rest[text.len()..];
            if end.is_some() {
                self.end_line();
                rest = &rest[1..];
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.begun);
        if !line.trim().is_empty() {
            self.log.add(LogLevel::Info, &line);
        }
        self.begun.clear();
    }
}

impl Output {
    /// What was written since the last time. A line without an end is taken for whole.
    pub(super) fn take(&self) -> Log {
        let mut lines = self.lines();
        lines.end_line();
        std::mem::take(&mut lines.log)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// Only WASI 0.3 asks for this, and this host has none.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.lines().write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    /// Also the most that the guest can make the host allocate at once.
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LOG_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LOG_LINES_MAX;

    fn texts(log: &Log) -> Vec<&str> {
        log.lines.iter().map(|line| &*line.message).collect()
    }

    #[test]
    fn lines_come_in_pieces() {
        let output = Output::default();
        for piece in ["a", "b\nc", "\n\n", "d"] {
            output.lines().write(piece.as_bytes());
        }
        assert_eq!(texts(&output.take()), ["ab", "c", "d"]);
        output.lines().write(b"e\n");
        assert_eq!(texts(&output.take()), ["e"], "what comes after a call belongs to the next one");
    }

    #[test]
    fn a_flood_is_counted_and_not_kept() {
        let output = Output::default();
        for _ in 0..LOG_LINES_MAX + 7 {
            output.lines().write(b"x\n");
        }
        let log = output.take();
        assert_eq!((log.lines.len(), log.dropped), (LOG_LINES_MAX, 7));
        output.lines().write(&vec![b'x'; 1 << 20]);
        assert_eq!(output.take().lines[0].message.len(), LOG_LINE_BYTES_MAX);
    }
}
