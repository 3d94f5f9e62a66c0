// Save and restore. A state struct lists its members once, `template <class A> void fields(A& a) { a(x, y); }`, and the
// same line writes and reads them, in little-endian order and without padding. A restored component is equal to the
// saved one, member by member.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "sim/check.h"
#include "sim/flat_map.h"

namespace sim {

class Writer;
class Reader;

template <class T, class Archive>
concept HasFields = requires(T& t, Archive& a) {
    t.fields(a);
};

namespace detail {
template <class T>
struct IsSequence : std::false_type {};
template <class T>
struct IsSequence<std::vector<T>> : std::true_type {};
template <class T>
struct IsSequence<std::deque<T>> : std::true_type {};
template <>
struct IsSequence<std::string> : std::true_type {};
template <class T>
struct IsArray : std::false_type {};
template <class T, std::size_t n>
struct IsArray<std::array<T, n>> : std::true_type {};
template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsPair : std::false_type {};
template <class A, class B>
struct IsPair<std::pair<A, B>> : std::true_type {};
template <class T>
struct IsMap : std::false_type {};
template <class K, class V>
struct IsMap<std::map<K, V>> : std::true_type {};
template <class K, class V>
struct IsMap<FlatMap<K, V>> : std::true_type {};
template <class T>
struct IsSet : std::false_type {};
template <class T>
struct IsSet<std::set<T>> : std::true_type {};
template <class T>
inline constexpr bool is_scalar = std::is_integral_v<T> || std::is_enum_v<T>;
// Scalars whose memory image is their archive image, so that a block of them is one copy.
template <class T>
inline constexpr bool is_plain = (std::is_integral_v<T> && !std::is_same_v<T, bool>) || std::is_same_v<T, std::byte>;
}  // namespace detail

class Writer {
public:
    static constexpr bool reading = false;

    template <class... T>
    void operator()(const T&... values) {
        (put(values), ...);
    }
    void bytes(std::span<const std::byte> data) { data_.insert(data_.end(), data.begin(), data.end()); }
    const std::vector<std::byte>& data() const { return data_; }
    std::vector<std::byte> take() { return std::move(data_); }

private:
    template <class T>
    void put(const T& value) {
        if constexpr (HasFields<T, Writer>) {
            const_cast<T&>(value).fields(*this);  // fields() serves both directions; a Writer only reads
        } else if constexpr (std::is_same_v<T, bool>) {
            put(static_cast<std::uint8_t>(value ? 1 : 0));
        } else if constexpr (detail::is_scalar<T>) {
            bytes(std::as_bytes(std::span{&value, 1}));
        } else if constexpr (detail::IsArray<T>::value) {
            if constexpr (detail::is_plain<typename T::value_type>) {
                bytes(std::as_bytes(std::span{value}));
            } else {
                for (const auto& item : value) put(item);
            }
        } else if constexpr (detail::IsSequence<T>::value) {
            put(static_cast<std::uint64_t>(value.size()));
            if constexpr (detail::is_plain<typename T::value_type> && requires { value.data(); }) {
                bytes(std::as_bytes(std::span{value}));
            } else {
                for (const auto& item : value) put(item);
            }
        } else if constexpr (detail::IsOptional<T>::value) {
            put(value.has_value());
            if (value) put(*value);
        } else if constexpr (detail::IsPair<T>::value) {
            put(value.first);
            put(value.second);
        } else if constexpr (detail::IsMap<T>::value || detail::IsSet<T>::value) {
            put(static_cast<std::uint64_t>(value.size()));
            for (const auto& item : value) {
                if constexpr (detail::IsMap<T>::value) {
                    put(item.first);
                    put(item.second);
                } else {
                    put(item);
                }
            }
        } else {
            static_assert(detail::is_scalar<T>, "give this type a fields() member");
        }
    }

    std::vector<std::byte> data_;
};

class Reader {
public:
    static constexpr bool reading = true;

    explicit Reader(std::span<const std::byte> data) : data_(data) {}

    template <class... T>
    void operator()(T&... values) {
        (get(values), ...);
    }
    void bytes(std::span<std::byte> out) {
        if (out.size() > data_.size())
            throw UserError("checkpoint: the data ends too early; it is damaged or of another version");
        if (!out.empty()) std::memcpy(out.data(), data_.data(), out.size());
        data_ = data_.subspan(out.size());
    }
    std::size_t remaining() const { return data_.size(); }

private:
    // Hostile lengths are refused before anything is allocated: each element takes at least one byte.
    std::size_t length() {
        std::uint64_t n = 0;
        get(n);
        if (n > data_.size())
            throw UserError("checkpoint: a length exceeds the data; it is damaged or of another version");
        return static_cast<std::size_t>(n);
    }

    template <class T>
    void get(T& value) {
        if constexpr (HasFields<T, Reader>) {
            value.fields(*this);
        } else if constexpr (std::is_same_v<T, bool>) {
            std::uint8_t byte = 0;
            get(byte);
            value = byte != 0;
        } else if constexpr (detail::is_scalar<T>) {
            bytes(std::as_writable_bytes(std::span{&value, 1}));
        } else if constexpr (detail::IsArray<T>::value) {
            if constexpr (detail::is_plain<typename T::value_type>) {
                bytes(std::as_writable_bytes(std::span{value}));
            } else {
                for (auto& item : value) get(item);
            }
        } else if constexpr (detail::IsSequence<T>::value) {
            value.clear();
            value.resize(length());
            if constexpr (detail::is_plain<typename T::value_type> && requires { value.data(); }) {
                bytes(std::as_writable_bytes(std::span{value}));
            } else {
                for (auto& item : value) get(item);
            }
        } else if constexpr (detail::IsOptional<T>::value) {
            bool present = false;
            get(present);
            value.reset();
            if (present) get(value.emplace());
        } else if constexpr (detail::IsPair<T>::value) {
            get(value.first);
            get(value.second);
        } else if constexpr (detail::IsMap<T>::value) {
            value.clear();
            for (std::size_t n = length(); n > 0; --n) {
                typename T::key_type key{};
                get(key);
                get(value[key]);
            }
        } else if constexpr (detail::IsSet<T>::value) {
            value.clear();
            for (std::size_t n = length(); n > 0; --n) {
                typename T::value_type item{};
                get(item);
                value.insert(std::move(item));
            }
        } else {
            static_assert(detail::is_scalar<T>, "give this type a fields() member");
        }
    }

    std::span<const std::byte> data_;
};

template <class T>
std::vector<std::byte> save_to_bytes(const T& value) {
    Writer writer;
    writer(value);
    return writer.take();
}

template <class T>
void restore_from_bytes(T& value, std::span<const std::byte> data) {
    Reader reader{data};
    reader(value);
    if (reader.remaining() != 0) throw UserError("checkpoint: data is left over; it is damaged or of another version");
}

}  // namespace sim
