// Who subscribes to what, both ways: from a PHID to its subscribers, so that a message costs the clients it
// matches, and from a subscriber to its PHIDs, so that its leaving costs its own subscriptions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "common/base/fetch_ahead.h"
#include "common/base/inline_vector.h"
#include "common/base/siphash.h"
#include "common/clients/place_table.h"

namespace aphlict::clients {

class Subscriber;

// Who subscribes to a PHID. Owned by its index, for as long as there is anybody.
struct Subscribers {
  struct Place {
    Subscriber* subscriber;
    std::uint32_t at;  // in the subscriber's list
  };
  InlineVector<Place> places;
};

// A PHID and its subscribers: an entry of the index, whose address stays.
using Topic = std::pair<const std::string, Subscribers>;

// One side of the relation; a client is one. Must leave its index before it dies.
class Subscriber {
 public:
  std::size_t subscriptions() const { return topics_.size(); }
  std::size_t subscription_bytes() const { return bytes_; }
  // Calls visit(std::string_view) for each PHID that it subscribes to.
  template <class Visit>
  void ForEachPhid(Visit visit) const {
    for (const Place& place : topics_) visit(std::string_view(place.topic->first));
  }

 private:
  friend class SubscriptionIndex;
  struct Place {
    Topic* topic;
    std::uint32_t at;  // in the topic's list
  };
  InlineVector<Place> topics_;
  std::unique_ptr<PlaceTable<Topic>> places_;  // only with many topics
  std::uint64_t visited_ = 0;                  // the last visit of the index that met it
  std::uint32_t bytes_ = 0;
};

// The index of one instance.
class SubscriptionIndex {
 public:
  // Returns whether it is new.
  bool Subscribe(Subscriber& subscriber, std::string_view phid);
  // Returns whether there was such a subscription.
  bool Unsubscribe(Subscriber& subscriber, std::string_view phid);
  void UnsubscribeAll(Subscriber& subscriber);
  // No more than `most` at once. Returns whether none is left.
  bool UnsubscribeSome(Subscriber& subscriber, std::size_t most);
  bool IsSubscribed(const Subscriber& subscriber, std::string_view phid) const;

  // Calls visit(Subscriber&) once for each that subscribes to any PHID which `message`'s ForEachSubscriber() gives.
  // Nobody may subscribe or leave meanwhile. `fetch` and `fetch_parts` are those of FetchAhead(), given subscribers.
  template <class Message, class Visit, class Fetch, class FetchParts>
  void ForEachMatch(const Message& message, Visit visit, Fetch fetch, FetchParts fetch_parts) {
    const std::uint64_t visit_number = ++visits_;
    message.ForEachSubscriber([&](std::string_view phid) {
      const auto found = topics_.find(phid);
      if (found == topics_.end()) return true;
      const InlineVector<Subscribers::Place>& places = found->second.places;
      for (std::size_t i = 0; i < places.size(); ++i) {
        const auto fetch_one = [&](std::size_t at) {
          FetchLine(&places[at].subscriber->visited_);
          fetch(*places[at].subscriber);
        };
        FetchAhead(i, places.size(), fetch_one, [&](std::size_t at) { fetch_parts(*places[at].subscriber); });
        Subscriber& subscriber = *places[i].subscriber;
        if (subscriber.visited_ == visit_number) continue;
        subscriber.visited_ = visit_number;
        visit(subscriber);
      }
      return true;
    });
  }

  std::size_t topics() const { return topics_.size(); }

 private:
  static constexpr std::size_t kMany = 16;  // topics of a subscriber, beyond which it has a table of them

  // For the subscriber's table of places.
  static auto TopicsOf(const Subscriber& subscriber) {
    return [&subscriber](std::uint32_t place) -> const Topic* { return subscriber.topics_[place].topic; };
  }
  // Where the subscriber's list has the topic, or its size.
  static std::size_t Find(const Subscriber& subscriber, const Topic* topic);
  void Remove(Subscriber& subscriber, std::size_t at);

  std::unordered_map<std::string, Subscribers, KeyedHash, std::equal_to<>> topics_;
  std::uint64_t visits_ = 0;
};

}  // namespace aphlict::clients
