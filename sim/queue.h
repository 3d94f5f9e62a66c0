// First in, first out, in memory that is used from its beginning again whenever the queue has been empty: what mostly
// holds a few things stays in the same few lines of the simulating computer's cache, and takes no memory anew. Unlike
// those of a std::deque, places move when something is added.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <type_traits>
#include <utility>
#include <vector>

namespace sim {

template <class T>
class Queue final {
public:
    Queue() = default;
    Queue(const Queue&) = default;
    Queue& operator=(const Queue&) = default;
    Queue(Queue&& other) noexcept : items_(std::move(other.items_)), head_(std::exchange(other.head_, 0)) {}
    Queue& operator=(Queue&& other) noexcept {
        items_ = std::move(other.items_);
        head_ = std::exchange(other.head_, 0);
        other.items_.clear();
        return *this;
    }

    bool empty() const { return head_ == items_.size(); }
    std::size_t size() const { return items_.size() - head_; }
    // From the oldest on.
    T& operator[](std::size_t n) { return items_[head_ + n]; }
    const T& operator[](std::size_t n) const { return items_[head_ + n]; }
    T& front() { return items_[head_]; }
    const T& front() const { return items_[head_]; }
    T& back() { return items_.back(); }
    const T& back() const { return items_.back(); }
    auto begin() { return items_.begin() + offset(); }
    auto end() { return items_.end(); }
    auto begin() const { return items_.begin() + offset(); }
    auto end() const { return items_.end(); }

    void push_back(T item) { emplace_back(std::move(item)); }
    template <class... Argument>
    T& emplace_back(Argument&&... arguments) {
        // Room that is free in front is used before there is more.
        if (items_.size() == items_.capacity() && head_ > items_.size() / 2) close_up();
        return items_.emplace_back(std::forward<Argument>(arguments)...);
    }
    void push_front(T item) {
        if (head_ == 0) {
            items_.insert(items_.begin(), std::move(item));
        } else {
            items_[--head_] = std::move(item);
        }
    }
    void pop_front() {
        // What it held is not kept until the queue has been empty.
        if constexpr (!std::is_trivially_destructible_v<T>) items_[head_] = T{};
        if (++head_ == items_.size()) clear();
    }
    void clear() {
        items_.clear();
        head_ = 0;
    }
    template <class U>
    void erase(const U& item) {
        close_up();
        std::erase(items_, item);
    }
    template <class Predicate>
    void erase_if(Predicate matches) {
        close_up();
        std::erase_if(items_, matches);
    }

    friend bool operator==(const Queue& a, const Queue& b) {
        return std::equal(a.begin(), a.end(), b.begin(), b.end());
    }
    template <class Archive>
    void fields(Archive& archive) {
        close_up();
        archive(items_);
    }

private:
    auto offset() const { return static_cast<std::ptrdiff_t>(head_); }
    void close_up() {
        items_.erase(items_.begin(), items_.begin() + offset());
        head_ = 0;
    }

    std::vector<T> items_;
    std::size_t head_ = 0;  // before it are those that have gone
};

}  // namespace sim
