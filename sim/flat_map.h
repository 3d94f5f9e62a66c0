// A map in one piece of memory, by key: for few things that are looked up often. A std::map's nodes lie anywhere, and
// each that is passed on the way is a line of the simulating computer's cache. Places move when something is added or
// goes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace sim {

template <class Key, class Value>
class FlatMap final {
public:
    using key_type = Key;
    using mapped_type = Value;
    using value_type = std::pair<Key, Value>;
    using iterator = typename std::vector<value_type>::iterator;
    using const_iterator = typename std::vector<value_type>::const_iterator;

    bool empty() const { return items_.empty(); }
    std::size_t size() const { return items_.size(); }
    iterator begin() { return items_.begin(); }
    iterator end() { return items_.end(); }
    const_iterator begin() const { return items_.begin(); }
    const_iterator end() const { return items_.end(); }

    iterator find(const Key& key) { return at_key(items_, key); }
    const_iterator find(const Key& key) const { return at_key(items_, key); }
    bool contains(const Key& key) const { return find(key) != end(); }
    // The first whose key is not less.
    iterator lower_bound(const Key& key) { return lower(items_, key); }

    // Where there is none with this key yet.
    template <class... Argument>
    std::pair<iterator, bool> try_emplace(const Key& key, Argument&&... arguments) {
        const iterator place = lower(items_, key);
        if (place != end() && place->first == key) return {place, false};
        return {items_.emplace(place, key, Value(std::forward<Argument>(arguments)...)), true};
    }
    Value& operator[](const Key& key) { return try_emplace(key).first->second; }
    iterator erase(iterator place) { return items_.erase(place); }
    iterator erase(iterator first, iterator last) { return items_.erase(first, last); }
    std::size_t erase(const Key& key) {
        const iterator place = find(key);
        if (place == end()) return 0;
        items_.erase(place);
        return 1;
    }
    template <class Predicate>
    void erase_if(Predicate matches) {
        std::erase_if(items_, matches);
    }
    void clear() { items_.clear(); }

    friend bool operator==(const FlatMap&, const FlatMap&) = default;

private:
    template <class Items>
    static auto lower(Items& items, const Key& key) {
        return std::lower_bound(items.begin(), items.end(), key,
                                [](const value_type& item, const Key& k) { return item.first < k; });
    }
    template <class Items>
    static auto at_key(Items& items, const Key& key) {
        const auto place = lower(items, key);
        return place != items.end() && place->first == key ? place : items.end();
    }

    std::vector<value_type> items_;
};

}  // namespace sim
