// What every TCP connection of a node is set to, whichever side opened it.
#pragma once

namespace aphlict::net {

// Sends at once (TCP_NODELAY), and notices a peer that is gone: one that is silent is probed after 60 s and every 15 s
// then, and one that acknowledges nothing of what it was sent for 90 s is given up (tcp(7): TCP_USER_TIMEOUT): later
// than by pings and heartbeats, which say more about it. What is set on a listener is inherited by the connections that
// it accepts. An option that fails is a comfort less, no more.
void SetConnectionOptions(int descriptor);

void SetOption(int descriptor, int level, int option, int value);

// Whether the peer has closed its side, or reset the connection, even where what it sent before is not read yet.
bool PeerHasClosed(int descriptor);

}  // namespace aphlict::net
