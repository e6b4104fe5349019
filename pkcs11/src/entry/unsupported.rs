//! What the token does not do: functions of a kind nobody misses here, each of any signature with as many arguments.

use cryptoki_sys as ck;

macro_rules! unsupported {
    ($($name:ident($($argument:ident),*);)*) => {$(
        pub(crate) unsafe extern "C" fn $name<$($argument),*>($(_: $argument),*) -> ck::CK_RV {
            ck::CKR_FUNCTION_NOT_SUPPORTED
        }
    )*};
}

unsupported! {
    no_1(A);
    no_3(A, B, C);
    no_4(A, B, C, D);
    no_5(A, B, C, D, E);
    no_7(A, B, C, D, E, F, G);
    no_8(A, B, C, D, E, F, G, H);
    no_9(A, B, C, D, E, F, G, H, I);
}

/// Functions run in the thread that calls them; the standard has this answer for that.
pub(crate) unsafe extern "C" fn not_parallel(_session: ck::CK_SESSION_HANDLE) -> ck::CK_RV {
    ck::CKR_FUNCTION_NOT_PARALLEL
}
