//! The service's end of a network card: ARP, IPv4 and TCP for its one address, without a kernel's help.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::answer::{self, Service};

/// The service's own card, as Firecracker's (`DEFAULT_MAC_ADDR` in `src/vmm/src/mmds/ns.rs`).
const MAC: [u8; 6] = [0x06, 0x01, 0x23, 0x45, 0x67, 0x01];
const PORT: u16 = 80;
/// Connections at a time, as Firecracker's.
const CONNECTIONS_MAX: usize = 30;
/// A request of so many bytes without an end resets its connection, as Firecracker's.
const REQUEST_MAX: usize = 2500;
const SEND_BUFFER: usize = 16 << 10;
/// A connection on which nothing came for so long makes room for another. Firecracker counts 40 billion cycles.
const IDLE: Duration = Duration::from_secs(10);

const ETHERNET: usize = 14;
const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];
const TCP: u8 = 6;

/// One card's service. Frames go in by [`Stack::take`], and what is to be sent comes out by [`Stack::next`].
pub(crate) struct Stack {
    address: Ipv4Addr,
    service: Arc<Service>,
    interface: Interface,
    packets: Packets,
    sockets: SocketSet<'static>,
    connections: Vec<Connection>,
    /// The guest's card, as its last frame named it.
    guest: [u8; 6],
    frames: VecDeque<Vec<u8>>,
}

struct Connection {
    socket: SocketHandle,
    request: Vec<u8>,
    answer: VecDeque<u8>,
    heard: Instant,
}

impl Stack {
    pub(crate) fn new(address: Ipv4Addr, service: Arc<Service>) -> Self {
        let mut packets = Packets::default();
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut packets, StackInstant::now());
        interface.update_ip_addrs(|addresses| {
            // There is room for the first one.
            let _ = addresses.push(IpCidr::new(address.into(), 32));
        });
        // Whoever asks is answered on the card where the question came in; the route makes it so.
        let _ = interface.routes_mut().add_default_ipv4_route(address);
        let mut sockets = SocketSet::new(Vec::new());
        let connections = (0..CONNECTIONS_MAX).map(|_| {
            let buffer = |size| tcp::SocketBuffer::new(vec![0; size]);
            let socket = tcp::Socket::new(buffer(REQUEST_MAX), buffer(SEND_BUFFER));
            Connection {
                socket: sockets.add(socket),
                request: Vec::new(),
                answer: VecDeque::new(),
                heard: Instant::now(),
            }
        });
        let connections = connections.collect();
        let guest = MAC;
        let frames = VecDeque::new();
        let mut stack = Self { address, service, interface, packets, sockets, connections, guest, frames };
        stack.work();
        stack
    }

    /// Takes a frame of the guest that is for the service; whether it was. Nobody else may see such a frame.
    pub(crate) fn take(&mut self, frame: &[u8]) -> bool {
        let Some((header, payload)) = frame.split_at_checked(ETHERNET) else { return false };
        let (from, kind) = (&header[6..12], &header[12..14]);
        if kind == ARP && payload.get(24..28) == Some(&self.address.octets()) {
            self.arp(payload);
            true
        } else if kind == IPV4 && payload.get(16..20) == Some(&self.address.octets()) {
            // Whatever else is sent there has no answer.
            if payload[9] == TCP {
                self.guest.copy_from_slice(from);
                self.packets.received.push_back(payload.to_vec());
                self.work();
            }
            true
        } else {
            false
        }
    }

    /// The next frame to the guest.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.pop_front();
        frame.or_else(|| {
            let packet = self.packets.sent.pop_front()?;
            Some([&self.guest[..], &MAC, &IPV4, &packet].concat())
        })
    }

    /// Does what time brings, such as sending again what was not acknowledged.
    pub(crate) fn work(&mut self) {
        let now = StackInstant::now();
        self.interface.poll(now, &mut self.packets, &mut self.sockets);
        for connection in &mut self.connections {
            connection.serve(self.sockets.get_mut(connection.socket), &self.service);
        }
        self.make_room();
        self.interface.poll(now, &mut self.packets, &mut self.sockets);
    }

    /// How long nothing needs to be done unless a frame comes.
    pub(crate) fn quiet(&mut self) -> Option<Duration> {
        let delay = self.interface.poll_delay(StackInstant::now(), &self.sockets);
        delay.map(Duration::from)
    }

    /// Answers the guest that asks who has the address.
    fn arp(&mut self, packet: &[u8]) {
        // Ethernet, IPv4, their lengths, request (RFC 826).
        if packet[..8] != [0, 1, 8, 0, 6, 4, 0, 1] {
            return;
        }
        let asker = &packet[8..18];
        self.guest.copy_from_slice(&asker[..6]);
        let reply = [0, 1, 8, 0, 6, 4, 0, 2];
        let frame = [&self.guest[..], &MAC, &ARP, &reply, &MAC, &self.address.octets(), asker].concat();
        self.frames.push_back(frame);
    }

    /// Ends the connection that was silent the longest, when none is left for another.
    fn make_room(&mut self) {
        let free =
            |connection: &Connection| self.sockets.get::<tcp::Socket<'_>>(connection.socket).is_listening();
        if self.connections.iter().any(free) {
            return;
        }
        let oldest = self.connections.iter_mut().min_by_key(|connection| connection.heard);
        if let Some(connection) = oldest.filter(|connection| connection.heard.elapsed() > IDLE) {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(connection.socket);
            socket.abort();
        }
    }
}

impl Connection {
    fn serve(&mut self, socket: &mut tcp::Socket<'_>, service: &Service) {
        if !socket.is_open() {
            self.request.clear();
            self.answer.clear();
            self.heard = Instant::now();
            // The port is one, and the socket is closed: there is nothing to refuse.
            let _ = socket.listen(PORT);
            return;
        }
        while let Ok(count) = socket.recv(|bytes| {
            self.request.extend_from_slice(bytes);
            (bytes.len(), bytes.len())
        }) {
            if count == 0 {
                break;
            }
            self.heard = Instant::now();
        }
        // One after the other: the next answer is not made before the last one was sent.
        while self.answer.is_empty()
            && let Some(end) = answer::end(&self.request)
        {
            let request: Vec<u8> = self.request.drain(..end).collect();
            self.answer = service.answer(&request, Instant::now()).into();
            self.send(socket);
        }
        self.send(socket);
        if self.request.len() >= REQUEST_MAX {
            socket.abort();
        } else if self.answer.is_empty() && socket.state() == tcp::State::CloseWait {
            // The guest has nothing more to ask, and has all that it asked for.
            socket.close();
        }
    }

    fn send(&mut self, socket: &mut tcp::Socket<'_>) {
        let (bytes, _) = self.answer.as_slices();
        let sent = socket.send_slice(bytes).unwrap_or(0);
        self.answer.drain(..sent);
        if sent > 0 && !self.answer.is_empty() && socket.can_send() {
            self.send(socket);
        }
    }
}

/// The packets between the card and the stack.
#[derive(Default)]
struct Packets {
    received: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
}

impl Device for Packets {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _: StackInstant) -> Option<(Received, Sent<'_>)> {
        let packet = self.received.pop_front()?;
        Some((Received(packet), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _: StackInstant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Sent<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut packet = vec![0; length];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}
