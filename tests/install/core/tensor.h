// The user's own header of this name: generous's must not find it.
#pragma once
inline constexpr int users_own = 3;
