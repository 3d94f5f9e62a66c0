// As many things as it is told when it is made. While they are few they lie in the object itself: who needs the first
// one needs no other of the simulating computer's cache lines for it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pci {

template <class T, std::uint32_t few>
class FixedArray final {
public:
    explicit FixedArray(std::uint32_t count) : count_(count), more_(count <= few ? 0 : count) {}

    std::uint32_t size() const { return count_; }
    T* begin() { return count_ <= few ? few_.data() : more_.data(); }
    T* end() { return begin() + count_; }
    const T* begin() const { return count_ <= few ? few_.data() : more_.data(); }
    const T* end() const { return begin() + count_; }
    T& operator[](std::size_t i) { return begin()[i]; }
    const T& operator[](std::size_t i) const { return begin()[i]; }
    bool operator==(const FixedArray&) const = default;

private:
    std::uint32_t count_;
    std::array<T, few> few_{};
    std::vector<T> more_;
};

}  // namespace pci
