//! One HTTP/1.1 connection that one caller owns: a request, its answer, the next request.
//!
//! Why it exists: the generator shares its machine with the nodes that it measures. A general client
//! (a pool, layers, a task for each connection) costs more than the request does; here a request is one
//! write and its answer one read, into a buffer that stays.
//!
//! Promises: bytes on the wire are those of an ordinary client (`host`, `accept`, `content-length`,
//! keep-alive); an answer is read to its end or the connection is given up; what happened is told by how
//! far it came: not connected, or perhaps sent. Relies on: `httparse` for heads and sizes of chunks.

use std::io;
use std::ops::Range;

use httparse::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Headers of an answer that are looked at; ours have a dozen.
const HEADERS_MAX: usize = 64;

/// What a buffer has to begin with: most answers are far smaller.
const BUFFER_BYTES: usize = 4 * 1024;

/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// An answer, of which the bytes are in the connection until the next one is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Whether there is an entity tag.
    pub(super) tagged: bool,
    /// Whether a leader was named that is another one than the node asked.
    pub(super) elsewhere: bool,
    body: Range<usize>,
    closes: bool,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunks,
}

/// A connection to one node.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// All its length may be read into.
    buffer: Vec<u8>,
    filled: usize,
    /// The node's own base URL.
    url: Box<str>,
}

fn broken(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl Connection {
    /// Connects to `http://HOST:PORT`.
    pub(super) async fn open(url: &str) -> io::Result<Self> {
        let address = url.trim_start_matches("http://");
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES], filled: 0, url: url.into() })
    }

    /// Sends a whole request and reads the whole answer. After an error the connection is of no use.
    pub(super) async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.filled = 0;
        self.stream.write_all(request).await?;
        let (mut answer, at, length) = loop {
            self.more().await?;
            if let Some(head) = self.head()? {
                break head;
            }
            if self.filled > HEAD_BYTES_MAX {
                return Err(broken("the head of the answer has no end"));
            }
        };
        answer.body = match length {
            Length::Bytes(count) => {
                let end = at.checked_add(count).ok_or_else(|| broken("the answer is too long"))?;
                while self.filled < end {
                    self.more().await?;
                }
                if self.filled > end {
                    return Err(broken("more was answered than asked"));
                }
                at..end
            }
            Length::Chunks => self.chunks(at).await?,
        };
        Ok(answer)
    }

    /// The bytes of the answer that came last.
    pub(super) fn body(&self, answer: &Answer) -> &[u8] {
        self.buffer.get(answer.body.clone()).unwrap_or_default()
    }

    /// Whether another request may be sent after this answer.
    pub(super) fn stays(answer: &Answer) -> bool {
        !answer.closes
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.filled * 2, 0);
        }
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let count = self.stream.read(room).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += count;
        Ok(())
    }

    fn read(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// The head, where the body begins, and how long that is; `None` while it is not whole.
    fn head(&self) -> io::Result<Option<(Answer, usize, Length)>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let parsed = head.parse(self.read()).map_err(|_why| broken("the answer is not HTTP"))?;
        let Status::Complete(at) = parsed else { return Ok(None) };
        let status = head.code.unwrap_or_default();
        let mut answer = Answer { status, ..Answer::default() };
        let mut length = Length::Bytes(0);
        for header in &*head.headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            // By length first: of a dozen headers few are compared.
            match header.name.len() {
                4 if is("etag") => answer.tagged = true,
                9 if is("kv-leader") => answer.elsewhere = header.value != self.url.as_bytes(),
                10 if is("connection") => {
                    answer.closes = header.value.eq_ignore_ascii_case(b"close");
                }
                14 if is("content-length") => {
                    let text = std::str::from_utf8(header.value).unwrap_or_default();
                    let count = text.trim().parse();
                    length = Length::Bytes(count.map_err(|_why| broken("its length is none"))?);
                }
                17 if is("transfer-encoding") => length = Length::Chunks,
                _ => {}
            }
        }
        if matches!(status, 204 | 304) {
            length = Length::Bytes(0);
        }
        Ok(Some((answer, at, length)))
    }

    /// Reads chunks to the last one and moves their bytes together.
    async fn chunks(&mut self, at: usize) -> io::Result<Range<usize>> {
        // Up to `end` the body, from `next` on what was not looked at.
        let (mut end, mut next) = (at, at);
        loop {
            let rest = self.buffer.get(next..self.filled).unwrap_or_default();
            let size = httparse::parse_chunk_size(rest);
            match size.map_err(|_why| broken("the size of a chunk is none"))? {
                Status::Partial => self.more().await?,
                Status::Complete((line, size)) => {
                    let size = usize::try_from(size).unwrap_or(usize::MAX);
                    let from = next + line;
                    // Behind each chunk, and behind the last one without trailers, is an empty line.
                    let until = from.checked_add(size).and_then(|until| until.checked_add(2));
                    let until = until.ok_or_else(|| broken("a chunk is too long"))?;
                    while self.filled < until {
                        self.more().await?;
                    }
                    self.buffer.copy_within(from..from + size, end);
                    (end, next) = (end + size, until);
                    if size == 0 {
                        return Ok(at..end);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A node that answers each request with the next text, in pieces of so many bytes.
    async fn node(answers: &'static [&'static str], piece: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        crate::runtime::Env::system().tasks.spawn("node", async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            for answer in answers {
                let mut asked = [0; 64];
                if stream.read(&mut asked).await.unwrap_or(0) == 0 {
                    return;
                }
                for part in answer.as_bytes().chunks(piece) {
                    stream.write_all(part).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        url
    }

    const ANSWERS: &[&str] = &[
        "HTTP/1.1 204 No Content\r\nETag: \"1\"\r\nkv-leader: http://other:1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
    ];

    #[tokio::test]
    async fn answers_are_read_however_they_come_in_pieces() {
        for piece in [1, 7, 4_096] {
            let mut to = Connection::open(&node(ANSWERS, piece).await).await.unwrap();
            let first = to.ask(b"x").await.unwrap();
            assert!((first.status, first.tagged, first.elsewhere) == (204, true, true));
            for (body, status) in [("hello", 200), ("abcde", 200), ("{}", 503)] {
                let answer = to.ask(b"x").await.unwrap();
                assert_eq!((answer.status, to.body(&answer)), (status, body.as_bytes()));
                assert_eq!(Connection::stays(&answer), status == 200);
            }
            // And then the other end is gone.
            assert!(to.ask(b"x").await.is_err());
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error() {
        for text in [
            &["SSH-2.0-x\r\n\r\n"],
            &["HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab"],
            &["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"],
            &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
        ] {
            let mut to = Connection::open(&node(text, 4_096).await).await.unwrap();
            assert!(to.ask(b"x").await.is_err(), "{text:?}");
        }
    }
}
