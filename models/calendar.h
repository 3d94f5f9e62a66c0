// The proleptic Gregorian calendar, from and to seconds since 1970-01-01 00:00:00 UTC.
#pragma once

#include <cstdint>

namespace models {

struct CalendarTime {
    std::int64_t year;
    unsigned month;  // 1..12
    unsigned day;    // 1..31
    unsigned hour;
    unsigned minute;
    unsigned second;
    unsigned week_day;  // 1 is Sunday
    bool operator==(const CalendarTime&) const = default;
};

constexpr std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
    return a / b - (a % b < 0 ? 1 : 0);
}

// Days since 1970-01-01. Months and days out of range carry over. Years run from March, so that the leap day is last.
constexpr std::int64_t days_from_civil(std::int64_t year, std::int64_t month, std::int64_t day) {
    const std::int64_t months = year * 12 + (month - 1) - 2;
    const std::int64_t y = floor_divide(months, 12);
    const std::int64_t m = months - y * 12;
    const std::int64_t day_of_year = (153 * m + 2) / 5 + day - 1;
    return y * 365 + floor_divide(y, 4) - floor_divide(y, 100) + floor_divide(y, 400) + day_of_year - 719468;
}

constexpr CalendarTime calendar_of_seconds(std::int64_t seconds) {
    const std::int64_t days = floor_divide(seconds, 86400);
    const auto in_day = static_cast<unsigned>(seconds - days * 86400);
    const std::int64_t shifted = days + 719468;
    const std::int64_t era = floor_divide(shifted, 146097);  // 400 years
    const std::int64_t day_of_era = shifted - era * 146097;
    const std::int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const std::int64_t m = (5 * day_of_year + 2) / 153;  // from March
    const auto month = static_cast<unsigned>(m < 10 ? m + 3 : m - 9);
    return {era * 400 + year_of_era + (month <= 2 ? 1 : 0),
            month,
            static_cast<unsigned>(day_of_year - (153 * m + 2) / 5 + 1),
            in_day / 3600,
            in_day / 60 % 60,
            in_day % 60,
            static_cast<unsigned>((days % 7 + 11) % 7 + 1)};
}

static_assert(calendar_of_seconds(0) == CalendarTime{1970, 1, 1, 0, 0, 0, 5});
static_assert(calendar_of_seconds(951'782'399) == CalendarTime{2000, 2, 28, 23, 59, 59, 2});
static_assert(calendar_of_seconds(1'767'225'600) == CalendarTime{2026, 1, 1, 0, 0, 0, 5});
static_assert(days_from_civil(2000, 2, 29) * 86400 == 951'782'400);

}  // namespace models
