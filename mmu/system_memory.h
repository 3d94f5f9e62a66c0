// The host's physical memory as everything that translates addresses sees it: a bounds-checked view, not an owner.
// An access outside it does what an unclaimed bus address does: loads give all ones, stores vanish.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace mmu {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// Pages whose content somebody keeps in another form (translated code): a write to one of them through a view that
// carries the watch is reported. Costs one look-up per write.
class WriteWatch final {
public:
    struct Listener {
        virtual void watched_page_written(u64 spa, u64 length) = 0;

    protected:
        ~Listener() = default;
    };

    explicit WriteWatch(u64 memory_size);
    ~WriteWatch();
    WriteWatch(const WriteWatch&) = delete;
    WriteWatch& operator=(const WriteWatch&) = delete;

    void set_listener(Listener* listener) { listener_ = listener; }
    void watch(u64 spa, bool on) {
        if (spa >> 12 >= count_ || watched(spa) == on) return;
        pages_[spa >> 12] = on ? 1 : 0;
        watched_ += on ? 1 : -1;
    }
    [[nodiscard]] bool watched(u64 spa) const { return spa >> 12 < count_ && pages_[spa >> 12] != 0; }

    // [spa, spa + length) is inside memory and has been written.
    void written(u64 spa, u64 length) {
        if (watched_ == 0 || length == 0 || listener_ == nullptr) return;
        for (u64 page = spa >> 12; page <= (spa + length - 1) >> 12; ++page) {
            if (pages_[page] == 0) continue;
            listener_->watched_page_written(spa, length);
            return;
        }
    }

private:
    u64 count_;
    std::int64_t watched_ = 0;  // of them: where nobody executes instructions there are none
    u8* pages_;                 // a byte for each, which the computer provides when one is first written
    Listener* listener_ = nullptr;
};

class SystemMemory final {
public:
    constexpr SystemMemory() = default;
    constexpr SystemMemory(std::byte* base, u64 size, WriteWatch* watch = nullptr)
        : base_(base), size_(size), watch_(watch) {}

    [[nodiscard]] constexpr WriteWatch* watch() const { return watch_; }

    [[nodiscard]] constexpr u64 size() const { return size_; }

    [[nodiscard]] constexpr bool contains(u64 spa, u64 length) const {
        return length <= size_ && spa <= size_ - length;
    }

    // The host address of [spa, spa + length), or nullptr when any byte of it is outside.
    [[nodiscard]] constexpr std::byte* at(u64 spa, u64 length) const {
        return contains(spa, length) ? base_ + spa : nullptr;
    }

    template <class T>
    [[nodiscard]] bool try_load(u64 spa, T& value) const {
        static_assert(std::is_trivially_copyable_v<T>);
        if (!contains(spa, sizeof(T))) return false;
        std::memcpy(&value, base_ + spa, sizeof(T));
        return true;
    }

    template <class T>
    [[nodiscard]] bool try_store(u64 spa, const T& value) const {
        static_assert(std::is_trivially_copyable_v<T>);
        if (!contains(spa, sizeof(T))) return false;
        std::memcpy(base_ + spa, &value, sizeof(T));
        written(spa, sizeof(T));
        return true;
    }

    template <class T>
    [[nodiscard]] T load(u64 spa) const {
        static_assert(std::is_unsigned_v<T>);
        T value = static_cast<T>(~T{0});
        (void)try_load(spa, value);
        return value;
    }

    template <class T>
    void store(u64 spa, T value) const {
        static_assert(std::is_unsigned_v<T>);
        (void)try_store(spa, value);
    }

    // All or nothing: false (and nothing copied) when any byte of the range is outside.
    [[nodiscard]] bool read(u64 spa, std::span<std::byte> out) const {
        if (!contains(spa, out.size())) return false;
        if (!out.empty()) std::memcpy(out.data(), base_ + spa, out.size());
        return true;
    }

    [[nodiscard]] bool write(u64 spa, std::span<const std::byte> in) const {
        if (!contains(spa, in.size())) return false;
        if (!in.empty()) std::memcpy(base_ + spa, in.data(), in.size());
        written(spa, in.size());
        return true;
    }

    [[nodiscard]] bool fill(u64 spa, u64 length, std::byte value) const {
        if (!contains(spa, length)) return false;
        if (length != 0) std::memset(base_ + spa, std::to_integer<int>(value), length);
        written(spa, length);
        return true;
    }

private:
    void written(u64 spa, u64 length) const {
        if (watch_ != nullptr) watch_->written(spa, length);
    }

    std::byte* base_ = nullptr;
    u64 size_ = 0;
    WriteWatch* watch_ = nullptr;
};

}  // namespace mmu
