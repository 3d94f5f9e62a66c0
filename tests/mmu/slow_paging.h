// An independent model of guest paging for comparison with mmu/walk.h: slow, recursive, written from the clauses of the
// SDM with literal bit numbers, and sharing no code with the fast one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace slow {

using U = std::uint64_t;

inline U bit(U value, int n) {
    return (value >> n) & 1;
}
inline U field(U value, int high, int low) {
    U out = 0;
    for (int i = high; i >= low; --i) out = out * 2 + bit(value, i);
    return out;
}

// The registers, by number of the bit that matters.
struct Machine {
    U cr0 = 0, cr3 = 0, cr4 = 0, efer = 0;
    U pdpte[4] = {0, 0, 0, 0};
    int maxphyaddr = 46;
    bool ac = false;
    bool one_gib = true;
    bool amd = false;
};

struct Access {
    bool write = false, fetch = false, user = false, implicit = false;
};

// Guest memory as the processor's page walker sees it. read() gives nothing when a second level refuses.
struct Memory {
    virtual ~Memory() = default;
    virtual std::optional<U> read(U address, int bytes) = 0;
    virtual std::optional<U> peek(U address, int bytes) = 0;  // the same without a trace
    virtual bool may_set_flags(U address) = 0;
    virtual void set_flags(U address, int bytes, U flags) = 0;
};

struct Verdict {
    enum What { translated, page_fault, general_protection, refused } what = translated;
    U error_code = 0;
    U address = 0;
    int page_bits = 0;
    bool write = true, user = true, fetch = true, global = false, dirty = false;
    int pat_index = 0;
    std::vector<std::pair<U, int>> path;  // the entries used: address and level
    std::vector<U> values;
    int writes = 0;
};

class Paging {
public:
    Paging(const Machine& machine, Memory& memory) : m_(machine), memory_(memory) {}

    bool keep_flags = false;     // do not set accessed and dirty
    bool ignore_rights = false;  // do not ask for access rights

    Verdict access(U linear, Access how) {
        how_ = how;
        Verdict v;
        const bool long_mode = paging() && bit(m_.cr4, 5) && bit(m_.efer, 10);
        if (long_mode) {
            const int top = bit(m_.cr4, 12) ? 56 : 47;  // all bits from here up must be the same
            for (int i = top; i < 64; ++i) {
                if (bit(linear, i) != bit(linear, top)) {
                    v.what = Verdict::general_protection;
                    return v;
                }
            }
        } else {
            linear = field(linear, 31, 0);
        }
        linear_ = linear;
        if (!paging()) {
            v.address = linear;
            v.page_bits = 30;
            v.dirty = true;
            return v;
        }
        if (!bit(m_.cr4, 5)) {
            descend(v, field(m_.cr3, 31, 12) << 12, 2);
        } else if (!long_mode) {
            const U pdpte = m_.pdpte[field(linear, 31, 30)];
            if (!bit(pdpte, 0)) {
                fault(v, false, false);
            } else {
                descend(v, field(pdpte, 51, 12) << 12, 2);
            }
        } else {
            descend(v, field(m_.cr3, m_.maxphyaddr - 1, 12) << 12, bit(m_.cr4, 12) ? 5 : 4);
        }
        return v;
    }

private:
    bool paging() const { return bit(m_.cr0, 31); }
    bool wide() const { return bit(m_.cr4, 5); }
    bool pae() const { return wide() && !bit(m_.efer, 10); }
    bool nxe() const { return wide() && bit(m_.efer, 11); }

    void fault(Verdict& v, bool present, bool reserved) {
        v.what = Verdict::page_fault;
        v.error_code = (present ? 1 : 0) + (how_.write ? 2 : 0) + (how_.user && !how_.implicit ? 4 : 0) +
                       (reserved ? 8 : 0) + (how_.fetch && (nxe() || bit(m_.cr4, 20)) ? 16 : 0);
    }

    bool maps_page(U entry, int level) const {
        if (level == 1) return true;
        if (!bit(entry, 7)) return false;
        if (!wide()) return level == 2 && bit(m_.cr4, 4);
        if (level == 2) return true;
        return level == 3 && m_.one_gib;
    }

    // Is this bit of a present entry at this level reserved?
    bool reserved_bit(U entry, int level, int n) const {
        if (!wide()) {
            if (level == 1 || !maps_page(entry, level)) return false;
            const int m = m_.maxphyaddr < 40 ? m_.maxphyaddr : 40;
            return n <= 21 && n >= m - 19;
        }
        if (n == 63) return !nxe();
        if (n >= 52) return pae();
        if (n >= m_.maxphyaddr) return true;
        const bool page = maps_page(entry, level);
        if (level == 2 && page && n >= 13 && n <= 20) return true;
        if (level == 3 && page && n >= 13 && n <= 29) return true;
        if (level == 3 && n == 7 && !m_.one_gib) return true;
        if (level >= 4 && n == 7) return true;
        if (level >= 3 && !page && n == 8) return m_.amd;
        return false;
    }

    int page_bits(int level) const {
        if (level == 1) return 12;
        if (level == 2) return wide() ? 21 : 22;
        return 30;
    }

    bool allowed(const Verdict& v) const {
        const bool user_access = how_.user && !how_.implicit;
        if (user_access) {
            if (!v.user) return false;
            if (how_.fetch) return v.fetch;
            if (how_.write) return v.write;
            return true;
        }
        if (how_.fetch) {
            if (v.user && bit(m_.cr4, 20)) return false;
            return v.fetch;
        }
        if (v.user && bit(m_.cr4, 21)) {
            if (how_.implicit) return false;
            if (!m_.ac) return false;
        }
        if (how_.write && bit(m_.cr0, 16)) return v.write;
        return true;
    }

    void descend(Verdict& v, U table, int level) {
        const int bytes = wide() ? 8 : 4;
        const int low = wide() ? 12 + 9 * (level - 1) : 12 + 10 * (level - 1);
        const U index = field(linear_, wide() ? low + 8 : low + 9, low);
        const U where = table + index * static_cast<U>(bytes);
        const std::optional<U> read = memory_.read(where, bytes);
        if (!read) {
            v.what = Verdict::refused;
            return;
        }
        const U entry = *read;
        v.path.push_back({where, level});
        v.values.push_back(entry);
        if (!bit(entry, 0)) return fault(v, false, false);
        for (int n = 0; n < bytes * 8; ++n) {
            if (bit(entry, n) && reserved_bit(entry, level, n)) return fault(v, true, true);
        }
        if (!bit(entry, 1)) v.write = false;
        if (!bit(entry, 2)) v.user = false;
        if (wide() && bit(entry, 63)) v.fetch = false;
        if (!maps_page(entry, level)) return descend(v, field(entry, wide() ? 51 : 31, 12) << 12, level - 1);
        if (!ignore_rights && !allowed(v)) return fault(v, true, false);
        finish(v, entry, level, bytes);
    }

    void finish(Verdict& v, U entry, int level, int bytes) {
        v.page_bits = page_bits(level);
        U base = field(entry, wide() ? 51 : 31, v.page_bits) << v.page_bits;
        if (v.page_bits == 22) base += field(entry, 20, 13) << 32;
        v.address = base + field(linear_, v.page_bits - 1, 0);
        v.global = bit(entry, 8) && bit(m_.cr4, 7);
        v.pat_index = static_cast<int>(4 * bit(entry, level == 1 ? 7 : 12) + 2 * bit(entry, 4) + bit(entry, 3));
        v.dirty = bit(entry, 6) || (how_.write && !keep_flags);
        if (keep_flags) return;
        for (const auto& [where, at] : v.path) {
            U flags = 32;
            if (at == level && how_.write) flags += 64;
            const std::optional<U> now = memory_.peek(where, bytes);  // as read, with the flags set since
            if (now && (*now & flags) == flags) continue;
            if (!memory_.may_set_flags(where)) {
                v.what = Verdict::refused;
                return;
            }
            memory_.set_flags(where, bytes, flags);
            ++v.writes;
        }
    }

    const Machine& m_;
    Memory& memory_;
    Access how_;
    U linear_ = 0;
};

// A deterministic stream for tests (splitmix64).
class Dice {
public:
    explicit Dice(U seed) : state_(seed) {}
    U next() {
        state_ += 0x9e3779b97f4a7c15;
        U z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    U below(U n) { return next() % n; }
    bool percent(U n) { return below(100) < n; }

private:
    U state_;
};

}  // namespace slow
