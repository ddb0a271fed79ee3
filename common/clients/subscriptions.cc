#include "common/clients/subscriptions.h"

#include <algorithm>

namespace aphlict::clients {

bool SubscriptionIndex::Subscribe(Subscriber& subscriber, std::string_view phid) {
  auto found = topics_.find(phid);
  if (found == topics_.end()) {
    found = topics_.try_emplace(std::string(phid)).first;
  } else if (Find(subscriber, &*found) < subscriber.topics_.size()) {
    return false;
  }
  Topic* topic = &*found;
  const auto at_subscriber = static_cast<std::uint32_t>(subscriber.topics_.size());
  const auto at_topic = static_cast<std::uint32_t>(topic->second.places.size());
  subscriber.topics_.push_back({topic, at_topic});
  topic->second.places.push_back({&subscriber, at_subscriber});
  subscriber.bytes_ += static_cast<std::uint32_t>(phid.size());
  if (subscriber.places_) {
    subscriber.places_->emplace(topic, at_subscriber);
  } else if (subscriber.topics_.size() > kMany) {
    subscriber.places_ = std::make_unique<std::unordered_map<const Topic*, std::uint32_t>>();
    for (std::uint32_t i = 0; i < subscriber.topics_.size(); ++i) {
      subscriber.places_->emplace(subscriber.topics_[i].topic, i);
    }
  }
  return true;
}

bool SubscriptionIndex::Unsubscribe(Subscriber& subscriber, std::string_view phid) {
  const auto found = topics_.find(phid);
  if (found == topics_.end()) return false;
  const std::size_t at = Find(subscriber, &*found);
  if (at == subscriber.topics_.size()) return false;
  Remove(subscriber, at);
  return true;
}

void SubscriptionIndex::UnsubscribeAll(Subscriber& subscriber) {
  subscriber.places_.reset();
  while (!subscriber.topics_.empty()) Remove(subscriber, subscriber.topics_.size() - 1);
}

bool SubscriptionIndex::IsSubscribed(const Subscriber& subscriber, std::string_view phid) const {
  const auto found = topics_.find(phid);
  return found != topics_.end() && Find(subscriber, &*found) < subscriber.topics_.size();
}

std::size_t SubscriptionIndex::Find(const Subscriber& subscriber, const Topic* topic) {
  if (subscriber.places_) {
    const auto place = subscriber.places_->find(topic);
    return place == subscriber.places_->end() ? subscriber.topics_.size() : place->second;
  }
  const Subscriber::Place* place = std::find_if(subscriber.topics_.begin(), subscriber.topics_.end(),
                                                [&](const auto& each) { return each.topic == topic; });
  return static_cast<std::size_t>(place - subscriber.topics_.begin());
}

// Takes one pair out of both lists. The last of each list moves into the free place, and is told so.
void SubscriptionIndex::Remove(Subscriber& subscriber, std::size_t at) {
  const Subscriber::Place place = subscriber.topics_[at];
  Topic* topic = place.topic;
  InlineVector<Subscribers::Place>& subscribers = topic->second.places;
  subscriber.bytes_ -= static_cast<std::uint32_t>(topic->first.size());

  const Subscribers::Place moved = subscribers.back();
  subscribers[place.at] = moved;
  subscribers.pop_back();
  moved.subscriber->topics_[moved.at].at = place.at;

  const Subscriber::Place last = subscriber.topics_.back();
  if (subscriber.places_) subscriber.places_->erase(topic);
  subscriber.topics_.pop_back();
  if (at < subscriber.topics_.size()) {
    subscriber.topics_[at] = last;
    last.topic->second.places[last.at].at = static_cast<std::uint32_t>(at);
    if (subscriber.places_) (*subscriber.places_)[last.topic] = static_cast<std::uint32_t>(at);
  }
  if (subscribers.empty()) topics_.erase(topics_.find(topic->first));
}

}  // namespace aphlict::clients
