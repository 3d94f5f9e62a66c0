// Entry points that take hostile VHD and VHDX files to whoever opens, reads, writes and checks them. An input chooses a
// good image, says how to damage it, whether its checksums are set right again afterwards, and what is then done with
// it. As libFuzzer targets (fuzz_models_disk_*.cpp), and with fixed seeds in the ordinary test run
// (tests/models/disk_hostile_test.cpp). A property that fails is a VG_CHECK.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/disk/crc32c.h"
#include "models/disk/disk_image.h"
#include "models/disk/image_check.h"
#include "models/disk/image_structure.h"
#include "models/disk/power_cut_file.h"
#include "models/disk/vhd_layout.h"
#include "models/disk/vhdx_layout.h"
#include "sim/check.h"

namespace fuzz {

inline constexpr std::uint64_t most_image_bytes = 48 << 20;  // of a hostile image, with what is written to it

// --- Good images.

struct Place {  // a structure worth damaging
    std::uint64_t offset, length;
};
struct GoodImage {
    models::MemoryFile file;
    std::vector<Place> places;
};

class FileView final : public models::ByteFile {
public:
    explicit FileView(models::ByteFile& file) : ByteFile(file.name()), file_(file) {}
    std::uint64_t size() const override { return file_.size(); }
    bool writable() const override { return true; }
    models::IoStatus read(std::uint64_t at, std::span<std::byte> out) const override { return file_.read(at, out); }
    models::IoStatus write(std::uint64_t at, std::span<const std::byte> data) override { return file_.write(at, data); }
    models::IoStatus resize(std::uint64_t bytes) override { return file_.resize(bytes); }
    models::IoStatus flush() override { return file_.flush(); }
    models::IoStatus zero(std::uint64_t at, std::uint64_t length) override { return file_.zero(at, length); }

private:
    models::ByteFile& file_;
};

// The root of differencing images, whatever path they name.
class RootParent final : public models::ParentFiles {
public:
    explicit RootParent(const models::MemoryFile& root) : root_(root) {}
    std::unique_ptr<models::ByteFile> open(const std::string&, const std::string&) override {
        return std::make_unique<models::MemoryFile>(root_);
    }

private:
    const models::MemoryFile& root_;
};

inline std::unique_ptr<models::DiskImage> open_image(models::ByteFile& file, models::Access access,
                                                     const models::MemoryFile& root, models::ImageFormat format) {
    RootParent parents(root);
    return models::open_disk_image(std::make_unique<FileView>(file), {access, format, &parents, 4});
}

struct GoodImages {
    models::MemoryFile root{"root", most_image_bytes};
    std::vector<GoodImage> images;
};

inline void fill(models::DiskImage& disk, std::uint64_t stride) {
    const std::vector<std::byte> data(8192, std::byte{0x5a});
    for (std::uint64_t at = 0; at + data.size() <= disk.size_bytes(); at += stride) {
        VG_CHECK(disk.write(at, data) == models::IoStatus::ok);
    }
}

inline GoodImages make_vhdx_images() {
    using models::ImageFormat, models::ImageKind;
    constexpr std::uint64_t kib = 1024, mib = 1024 * kib;
    const std::vector<Place> places = {
        {0, 16},          {64 * kib, 80},  {128 * kib, 80},         {192 * kib, 112},
        {256 * kib, 112}, {mib, 16 * kib}, {2 * mib, 256},          {2 * mib + 64 * kib, 512},
        {3 * mib, 256},   {4 * mib, 1024}, {3 * mib + 4096 * 8, 64}};
    GoodImages good;
    sim::Random random(1);
    models::create_disk_image(good.root, {ImageFormat::vhdx, ImageKind::dynamic, {4 * mib, 512, 512}, 1 << 20}, random);
    fill(*open_image(good.root, models::Access::read_write, good.root, ImageFormat::vhdx), 2 * mib);
    const auto add = [&](const models::MemoryFile& file) { good.images.push_back({file, places}); };
    add(good.root);

    models::MemoryFile file("hostile", most_image_bytes);
    models::create_disk_image(file, {ImageFormat::vhdx, ImageKind::fixed, {2 * mib, 4096, 4096}, 1 << 20}, random);
    add(file);

    file = models::MemoryFile("hostile", most_image_bytes);
    const auto parent = open_image(good.root, models::Access::read_only, good.root, ImageFormat::vhdx);
    models::create_differencing_image(file, *parent, {"root", ""}, 1 << 20, random);
    fill(*open_image(file, models::Access::read_write, good.root, ImageFormat::vhdx), mib + 64 * kib);
    add(file);

    // Not closed: with entries in its log.
    file = models::MemoryFile("hostile", most_image_bytes);
    models::create_disk_image(file, {ImageFormat::vhdx, ImageKind::dynamic, {8 * mib, 512, 4096}, 2 << 20}, random);
    models::PowerCutFile cut(file);
    auto disk = open_image(cut, models::Access::read_write, good.root, ImageFormat::vhdx);
    for (std::uint64_t at = 0; at < 8 * mib; at += 2 * mib) {
        VG_CHECK(disk->write(at, std::vector<std::byte>(512)) == models::IoStatus::ok);
        VG_CHECK(disk->flush() == models::IoStatus::ok);
    }
    add(cut.after_power_cut(random));
    return good;
}

inline GoodImages make_vhd_images() {
    using models::ImageFormat, models::ImageKind;
    GoodImages good;
    sim::Random random(1);
    const auto add = [&](const models::MemoryFile& file) {
        good.images.push_back({file, {{0, 512}, {512, 1024}, {1536, 256}, {1792, 1024}, {file.size() - 512, 512}}});
    };
    models::create_disk_image(good.root, {ImageFormat::vhd, ImageKind::dynamic, {1 << 20, 512, 512}, 32768}, random);
    fill(*open_image(good.root, models::Access::read_write, good.root, ImageFormat::vhd), 100 << 10);
    add(good.root);

    models::MemoryFile file("hostile", most_image_bytes);
    models::create_disk_image(file, {ImageFormat::vhd, ImageKind::fixed, {65536, 512, 512}}, random);
    add(file);

    file = models::MemoryFile("hostile", most_image_bytes);
    const auto parent = open_image(good.root, models::Access::read_only, good.root, ImageFormat::vhd);
    models::create_differencing_image(file, *parent, {"root", ""}, 4096, random);
    fill(*open_image(file, models::Access::read_write, good.root, ImageFormat::vhd), 48 << 10);
    add(file);
    return good;
}

// --- Checksums of a damaged image, so that more than the checksums is tried.

inline void seal(models::ByteFile& file, std::uint64_t offset, std::size_t length) {
    std::vector<std::byte> bytes(length);
    if (file.read(offset, bytes) != models::IoStatus::ok) return;
    models::put_structure(bytes, 4, std::uint32_t{0});
    const std::uint32_t sum = models::crc32c(bytes);
    (void)file.write(offset + 4, models::bytes_of(sum));
}

// Only what was damaged needs it: the region tables are long.
inline void seal_vhdx(models::ByteFile& file, bool regions = true) {
    namespace vhdx = models::vhdx;
    for (const auto offset : vhdx::header_offsets) seal(file, offset, vhdx::header_bytes);
    for (const auto offset : vhdx::region_table_offsets) {
        if (regions) seal(file, offset, vhdx::region_table_bytes);
    }
    for (std::uint64_t at = vhdx::mib; at < vhdx::mib + 128 * vhdx::kib; at += vhdx::log_sector_bytes) {
        std::array<std::byte, sizeof(vhdx::LogEntryHeader)> head{};
        if (file.read(at, head) != models::IoStatus::ok) return;
        const auto entry = models::structure_at<vhdx::LogEntryHeader>(head);
        if (entry.signature == vhdx::log_entry_signature && entry.entry_bytes <= 256 * vhdx::kib) {
            seal(file, at, std::max<std::size_t>(entry.entry_bytes, 8));
        }
    }
}

template <class T>
void seal_vhd_structure(models::ByteFile& file, std::uint64_t offset) {
    std::array<std::byte, sizeof(T)> bytes{};
    if (file.read(offset, bytes) != models::IoStatus::ok) return;
    auto structure = models::structure_at<T>(bytes);
    structure.checksum = models::vhd::checksum_of(structure);
    (void)file.write(offset, models::bytes_of(structure));
}

inline void seal_vhd(models::ByteFile& file) {
    seal_vhd_structure<models::vhd::DynamicHeader>(file, 512);
    seal_vhd_structure<models::vhd::Footer>(file, 0);
    if (file.size() >= 512) seal_vhd_structure<models::vhd::Footer>(file, file.size() - 512);
}

// --- Damage and use.

class HostileDisk final {
public:
    struct Done {
        std::uint64_t opened = 0;
        std::uint64_t refused = 0;
        std::uint64_t writes = 0;
        std::uint64_t replayed = 0;
    };

    HostileDisk(std::span<const std::uint8_t> input, const GoodImages& good, models::ImageFormat format)
        : input_(input), good_(good), format_(format) {}

    void run(Done* done) {
        const auto choice = take<std::uint8_t>();
        const GoodImage& image = good_.images[choice % good_.images.size()];
        models::MemoryFile file = image.file;
        damage(file, image.places, choice / 64 + (take<std::uint8_t>() & 7u));
        const bool seal_it = take<std::uint8_t>() % 8 != 0;
        if (seal_it) format_ == models::ImageFormat::vhdx ? seal_vhdx(file, regions_damaged_) : seal_vhd(file);

        const auto check = models::check_image(file, format_);
        if (check.text().find("log holds") != std::string::npos && done != nullptr) ++done->replayed;
        if (choice % 16 >= 8) try_reading(file, check);
        try_writing(file, check, done);
        VG_CHECK(file.bytes_held() <= most_image_bytes + (1 << 20));
    }

private:
    template <class T>
    T take() {
        T value{};
        const std::size_t n = std::min(input_.size(), sizeof value);
        if (n != 0) std::memcpy(&value, input_.data(), n);
        input_ = input_.subspan(n);
        return value;
    }

    void damage(models::MemoryFile& file, const std::vector<Place>& places, unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            const auto where = take<std::uint8_t>(), how = take<std::uint8_t>();
            const auto within = take<std::uint16_t>();
            const Place& place = places[where % places.size()];
            const std::uint64_t at = place.offset + within % place.length;
            const std::size_t length = std::size_t{1} << (how & 3);
            std::uint64_t value = take<std::uint64_t>();
            switch (how >> 2 & 7) {
                case 0:  // a whole MiB, as VHDX counts, or a small number
                    value = (value & 0x3f) << 20 | (value >> 8 & 7);
                    break;
                case 1:  // big-endian, small
                    value = __builtin_bswap64(value & 0xffff) >> (64 - 8 * length);
                    break;
                case 2:
                    value = ~std::uint64_t{0} - (value & 3);
                    break;
                case 3:
                    (void)file.resize(value % (16 << 20));
                    continue;
                default:
                    break;
            }
            regions_damaged_ |= at / (64 << 10) - 3 < 2;
            if (at + length <= file.size()) (void)file.write(at, models::bytes_of(value).first(length));
        }
    }

    // What the checker finds sound opens; a differencing image may miss its parent still.
    void try_reading(const models::MemoryFile& file, const models::ImageCheck& check) {
        models::MemoryFile copy_of_file = file;
        try {
            const auto disk = open_image(copy_of_file, models::Access::read_only, good_.root, format_);
            std::vector<std::byte> part(64 << 10);
            const std::uint64_t sector = disk->logical_sector_bytes();
            for (const std::uint64_t part_of : {0, 1, 2, 3}) {
                const std::uint64_t at = disk->size_bytes() / 4 * part_of / sector * sector;
                (void)disk->read(at,
                                 std::span{part}.first(std::min<std::uint64_t>(part.size(), disk->size_bytes() - at)));
            }
        } catch (const sim::UserError& error) {
            const bool parent = std::string(error.what()).find("parent") != std::string::npos;
            VG_CHECK(!check.sound() || parent, error.what());
        }
    }

    void try_writing(models::MemoryFile& file, const models::ImageCheck& check, Done* done) {
        std::unique_ptr<models::DiskImage> disk;
        try {
            disk = open_image(file, models::Access::read_write, good_.root, format_);
        } catch (const sim::UserError&) {
            if (done != nullptr) ++done->refused;
            return;
        }
        if (done != nullptr) ++done->opened;
        for (int i = 0; i < 12 && !input_.empty(); ++i) act(*disk, done);
        compare(*disk);
        const bool closed = disk->close() == models::IoStatus::ok;
        disk.reset();
        if (!closed || !check.sound()) return;
        const auto after = models::check_image(file, format_);
        VG_CHECK(after.sound(), after.text());
        compare(*open_image(file, models::Access::read_only, good_.root, format_));
    }

    void act(models::DiskImage& disk, Done* done) {
        const auto what = take<std::uint8_t>();
        const std::uint64_t sector = disk.logical_sector_bytes(), sectors = disk.size_bytes() / sector;
        const std::uint64_t first = (what & 8) != 0 ? take<std::uint64_t>() % sectors : take<std::uint16_t>() % sectors;
        const std::uint64_t count = std::min<std::uint64_t>(1 + take<std::uint8_t>() % 32, sectors - first);
        switch (what & 7) {
            case 0:
                (void)disk.flush();
                break;
            case 1: {
                const std::uint64_t more = std::min<std::uint64_t>(count * 256, sectors - first);
                if (disk.unmap(first * sector, more * sector) == models::IoStatus::ok) {
                    expect(first * sector, more * sector, 0, sector);
                } else {
                    forget(first * sector, more * sector);
                }
                break;
            }
            default: {
                const std::uint8_t stamp = what | 1;
                const std::vector<std::byte> data(count * sector, std::byte{stamp});
                if (disk.write(first * sector, data) == models::IoStatus::ok) {
                    expect(first * sector, data.size(), stamp, sector);
                    if (done != nullptr) ++done->writes;
                } else {
                    forget(first * sector, data.size());
                }
            }
        }
    }

    void expect(std::uint64_t offset, std::uint64_t length, std::uint8_t stamp, std::uint64_t sector) {
        // The ends of a long range stand for it.
        forget(offset, length);
        expected_[offset] = stamp;
        expected_[offset + length - sector] = stamp;
    }
    void forget(std::uint64_t offset, std::uint64_t length) {
        expected_.erase(expected_.lower_bound(offset), expected_.lower_bound(offset + length));
    }
    // What was acknowledged is there.
    void compare(models::DiskImage& disk) {
        std::vector<std::byte> found(disk.logical_sector_bytes());
        for (const auto& [offset, stamp] : expected_) {
            VG_CHECK(disk.read(offset, found) == models::IoStatus::ok);
            VG_CHECK(found == std::vector<std::byte>(found.size(), std::byte{stamp}));
        }
    }

    std::span<const std::uint8_t> input_;
    const GoodImages& good_;
    models::ImageFormat format_;
    bool regions_damaged_ = false;
    std::map<std::uint64_t, std::uint8_t> expected_;  // first byte of a sector -> what all of it holds
};

inline int disk_vhdx(std::span<const std::uint8_t> input, HostileDisk::Done* done = nullptr) {
    static const GoodImages good = make_vhdx_images();
    HostileDisk(input, good, models::ImageFormat::vhdx).run(done);
    return 0;
}

inline int disk_vhd(std::span<const std::uint8_t> input, HostileDisk::Done* done = nullptr) {
    static const GoodImages good = make_vhd_images();
    HostileDisk(input, good, models::ImageFormat::vhd).run(done);
    return 0;
}

}  // namespace fuzz
