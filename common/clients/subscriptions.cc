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
    subscriber.places_->Add(TopicsOf(subscriber));
  } else if (subscriber.topics_.size() > kMany) {
    subscriber.places_ = std::make_unique<PlaceTable<Topic>>();
    for (std::size_t i = 0; i < subscriber.topics_.size(); ++i) subscriber.places_->Add(TopicsOf(subscriber));
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

void SubscriptionIndex::UnsubscribeAll(Subscriber& subscriber) { UnsubscribeSome(subscriber, SIZE_MAX); }

bool SubscriptionIndex::UnsubscribeSome(Subscriber& subscriber, std::size_t most) {
  if (most >= subscriber.topics_.size()) subscriber.places_.reset();
  for (std::size_t i = 0; i < most && !subscriber.topics_.empty(); ++i)
    Remove(subscriber, subscriber.topics_.size() - 1);
  return subscriber.topics_.empty();
}

bool SubscriptionIndex::IsSubscribed(const Subscriber& subscriber, std::string_view phid) const {
  const auto found = topics_.find(phid);
  return found != topics_.end() && Find(subscriber, &*found) < subscriber.topics_.size();
}

std::size_t SubscriptionIndex::Find(const Subscriber& subscriber, const Topic* topic) {
  if (subscriber.places_) {
    const std::uint32_t place = subscriber.places_->Find(topic, TopicsOf(subscriber));
    return place == PlaceTable<Topic>::kNowhere ? subscriber.topics_.size() : place;
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
  const auto here = static_cast<std::uint32_t>(at);
  const auto end = static_cast<std::uint32_t>(subscriber.topics_.size() - 1);
  if (subscriber.places_) subscriber.places_->Remove(topic, here, TopicsOf(subscriber));
  subscriber.topics_.pop_back();
  if (here < end) {
    subscriber.topics_[at] = last;
    last.topic->second.places[last.at].at = here;
    if (subscriber.places_) subscriber.places_->Move(last.topic, end, here);
  }
  if (subscribers.empty()) topics_.erase(topics_.find(topic->first));
}

}  // namespace aphlict::clients
